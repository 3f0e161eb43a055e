// Threads that replace others: prepared beforehand, so that one that dies is replaced within milliseconds.
//
// As many as have died lately: none at a host whose threads live, which pays nothing for this, and several at one where
// they die together.

import { SPARE_THREADS_MAX, SPARE_WINDOW_MS } from '../../protocol/limits.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { bornWith } from './birth-priority.js';
import { Thread } from './worker-pool.js';

export interface SpareThreadsOptions {
  /** Agent threads: more spares than that are not needed. */
  count: number;
  /** File paths of the agent modules. */
  agents: readonly string[];
  /** Of the agent threads; null: the process's. */
  nice: number | null;
  heapMb: number | null;
  clock: Clock;
  log: Log;
}

const PREPARE = new URL('../../worker/prepare.cjs', import.meta.url);

export class SpareThreads {
  readonly #options: SpareThreadsOptions;
  readonly #ready: Thread[] = [];
  /** The one that is being prepared. */
  #next: Thread | null = null;
  #deaths: number[] = [];
  #making: Promise<void> | null = null;
  #closing = false;

  constructor(options: SpareThreadsOptions) {
    this.#options = options;
  }

  /** A spare, or one that is being prepared: what it is to execute waits for that. */
  take(): Thread {
    const spare = this.#ready.pop() ?? this.#next;
    if (spare === this.#next) this.#next = null;
    return spare ?? this.#begin().thread;
  }

  /** A thread has died and has been replaced: provides for the next. */
  provide(): void {
    const now = this.#options.clock.now();
    this.#deaths = [...this.#deaths.filter((at) => now - at < SPARE_WINDOW_MS), now];
    if (!this.#closing) this.#making ??= this.#make();
  }

  /** One after the other, so that they take no more than a part of one core from the agents. */
  async #make(): Promise<void> {
    try {
      const { count } = this.#options;
      while (!this.#closing && this.#ready.length < Math.min(this.#deaths.length, count, SPARE_THREADS_MAX)) {
        await this.#makeOne();
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, 'no spare thread could be made; the next replacement takes longer');
    } finally {
      this.#making = null;
    }
  }

  async #makeOne(): Promise<void> {
    const { thread, prepared } = this.#begin();
    this.#next = thread;
    try {
      await prepared;
    } catch (error) {
      // Whoever has taken it is told by the thread's own end.
      if (this.#next !== thread) return;
      this.#next = null;
      await thread.terminate();
      throw error;
    }
    if (this.#next !== thread) return;
    this.#next = null;
    this.#ready.push(thread);
  }

  #begin(): { thread: Thread; prepared: Promise<void> } {
    const { agents, nice, heapMb } = this.#options;
    const thread = new Thread(heapMb);
    const prepared = bornWith(nice, () => thread.run(PREPARE, 'prepare', { agents, nice }));
    return { thread, prepared };
  }

  async close(): Promise<void> {
    this.#closing = true;
    // A thread is not terminated in the midst of loading: that takes the process down (Node 20).
    await this.#making;
    await Promise.all(this.#ready.splice(0).map((thread) => thread.terminate()));
  }
}
