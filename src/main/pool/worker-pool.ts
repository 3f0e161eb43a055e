// Threads, by Piscina: one pool of one thread for each. Its last task is the thread's serve(), whose promise is that
// thread's death notice.
//
// One Piscina for all threads would tie their fates together: close() kills the busy ones when the first finishes, an
// aborted task takes its neighbours along, and one failed bootstrap ends all refilling. With a pool each, a thread can be
// given up and replaced without a side effect.

import { Piscina } from 'piscina';
import type { Transferable, Worker } from 'node:worker_threads';
import { CabanaError } from '../../protocol/errors.js';
import { TERMINATE_DEADLINE_MS } from '../../protocol/limits.js';
import { LATE, systemClock, within } from '../clock.js';
import { markOverdue, systemThreads, trackThread } from './end-threads.js';

export class Thread {
  readonly #pool: Piscina;
  /**
   * Rejects when the thread has died, also between two tasks, or could not start. Piscina alone would begin the next task
   * in a new thread then, or leave it in its queue for ever.
   */
  readonly death: Promise<never>;
  #die!: (reason: Error) => void;
  #dead = false;
  /** The system had no thread to give. */
  #refused = false;
  #worker: Worker | null = null;

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
    this.death = new Promise<never>((_, reject) => {
      this.#die = (reason) => {
        this.#dead = true;
        reject(reason);
      };
    });
    // Every task's promise tells it; this keeps it from being an unhandled rejection while there is none.
    this.death.catch(() => undefined);
    this.#pool.on('error', this.#die);
    // A fallback: whoever knows the reason calls #die in this turn.
    this.#pool.on('workerDestroy', () =>
      setImmediate(() => this.#die(new CabanaError('THREAD_DIED', 'the thread has ended'))),
    );
  }

  /**
   * Executes the export of this name of a compiled file in the thread, after the tasks before it. The thread is there when
   * this returns. When a task fails its thread counts as dead.
   * @returns the task's end; rejects with what it threw, or with the reason of the thread's death
   */
  run(file: URL, name: string, task: unknown, transfers: readonly Transferable[] = []): Promise<void> {
    const ended = this.#dead ? this.death : Promise.race([this.#begin(file, name, task, transfers), this.death]);
    // Every reader of `ended` handles it; this keeps an early death from being an unhandled rejection before that.
    ended.catch(() => undefined);
    return ended;
  }

  async #begin(file: URL, name: string, task: unknown, transfers: readonly Transferable[]): Promise<void> {
    let ran: Promise<void>;
    const threads = systemThreads();
    try {
      ran = this.#pool.run(task, { filename: file.href, name, transferList: [...transfers] as never }) as Promise<void>;
      if (!this.#worker) trackThread((this.#worker = this.#pool.threads[0]!), threads);
    } catch (error) {
      this.#refused = true;
      this.#die(error as Error);
      throw error;
    }
    try {
      await ran;
    } catch (error) {
      this.#die(error as Error);
      throw error;
    }
  }

  /** It is not to be trusted any more: it dies of this. Whoever hears of a death terminates. */
  fail(reason: Error): void {
    this.#die(reason);
  }

  /**
   * Ends the thread at once. Resolves when it is gone; or after TERMINATE_DEADLINE_MS, if a blocking call (of a child
   * process, of a pipe) keeps it from ending (see end-threads.ts).
   */
  async terminate(): Promise<void> {
    // If no thread could be made, Piscina holds a queued task whose promise nobody has; destroy() would reject it
    // unhandled.
    if (this.#refused) return;
    const end = await within(systemClock, TERMINATE_DEADLINE_MS, this.#pool.destroy());
    if (end === LATE && this.#worker) markOverdue(this.#worker);
  }
}
