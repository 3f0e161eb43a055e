// Threads, by Piscina: one pool of one thread for each, whose single task is the thread's serve().
//
// One Piscina for all threads would tie their fates together: close() kills the busy ones when the first finishes, an
// aborted task takes its neighbours along, and one failed bootstrap ends all refilling. With a pool each, a thread can be
// given up and replaced without a side effect, and the task's promise is that thread's death notice.

import { Piscina } from 'piscina';
import type { Transferable } from 'node:worker_threads';

export interface ThreadOptions {
  /** URL of the compiled entry file; its export `serve` is the task. */
  entry: URL;
  task: unknown;
  transfers: readonly Transferable[];
  /** Megabytes of old-generation heap; null: Node's default. */
  heapMb: number | null;
}

export interface Thread {
  /** Resolves when the task has ended; rejects with the reason of the thread's death. */
  ended: Promise<void>;
  /** Ends the thread at once. Resolves when it is gone. */
  terminate(): Promise<void>;
}

export function startThread(options: ThreadOptions): Thread {
  const pool = new Piscina({
    filename: options.entry.href,
    name: 'serve',
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: Infinity,
    // 'sync' would freeze the thread's event loop whenever no task is handed over.
    atomics: 'disabled',
    recordTiming: false,
    ...(options.heapMb === null ? {} : { resourceLimits: { maxOldGenerationSizeMb: options.heapMb } }),
  });
  const ended = new Promise<void>((resolve, reject) => {
    // A bootstrap that fails leaves the task in the queue and says so here alone.
    pool.on('error', reject);
    pool.run(options.task, { transferList: [...options.transfers] as never }).then(resolve, reject);
  });
  // Every reader of `ended` handles it; this keeps an early death from being an unhandled rejection before that.
  ended.catch(() => undefined);
  return { ended, terminate: () => pool.destroy() };
}
