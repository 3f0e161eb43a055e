// Threads, by Piscina: one pool of one thread for each. Its last task is the thread's serve(), whose promise is that
// thread's death notice.
//
// One Piscina for all threads would tie their fates together: close() kills the busy ones when the first finishes, an
// aborted task takes its neighbours along, and one failed bootstrap ends all refilling. With a pool each, a thread can be
// given up and replaced without a side effect.

import { Piscina } from 'piscina';
import type { Transferable } from 'node:worker_threads';

export class Thread {
  readonly #pool: Piscina;
  /** Rejects when the thread dies, or cannot start: what has not begun by then would wait in the queue for ever. */
  readonly #failed: Promise<never>;
  #fail!: (reason: unknown) => void;

  /** @param heapMb megabytes of old-generation heap; null: Node's default */
  constructor(heapMb: number | null) {
    this.#pool = new Piscina({
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: Infinity,
      // 'sync' would freeze the thread's event loop whenever no task is handed over.
      atomics: 'disabled',
      recordTiming: false,
      ...(heapMb === null ? {} : { resourceLimits: { maxOldGenerationSizeMb: heapMb } }),
    });
    this.#failed = new Promise<never>((_, reject) => (this.#fail = reject));
    // Of a death outside of any task.
    this.#pool.on('error', this.#fail);
    // Every task's promise tells it; this keeps it from being an unhandled rejection while there is none.
    this.#failed.catch(() => undefined);
  }

  /**
   * Executes the export of this name of a compiled file in the thread, after the tasks before it; if one of them failed,
   * nothing comes after it.
   * @returns its end; rejects with what it threw, or with the reason of the thread's death
   */
  run(file: URL, name: string, task: unknown, transfers: readonly Transferable[] = []): Promise<void> {
    const options = { filename: file.href, name, transferList: [...transfers] as never };
    const ran = this.#pool.run(task, options) as Promise<void>;
    ran.catch(this.#fail);
    const ended = Promise.race([ran, this.#failed]);
    // Every reader of `ended` handles it; this keeps an early death from being an unhandled rejection before that.
    ended.catch(() => undefined);
    return ended;
  }

  /** Ends the thread at once. Resolves when it is gone. */
  terminate(): Promise<void> {
    return this.#pool.destroy();
  }
}
