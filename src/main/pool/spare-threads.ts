// Threads that have loaded their agents and are not used yet, so that one that dies is replaced within milliseconds.
//
// As many as have died lately: none at a host whose threads live, which pays nothing for this, and several at one where
// they die together.

import { SPARE_THREADS_MAX, SPARE_WINDOW_MS } from '../../protocol/limits.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { Thread } from './worker-pool.js';

export interface SpareThreadsOptions {
  /** Agent threads: more spares than that are not needed. */
  count: number;
  /** File paths of the agent modules. */
  agents: readonly string[];
  niceIncrement: number;
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

  /** A spare, also one that is on its way there: what it is to execute waits for that. A new thread if there is none. */
  take(): Thread {
    const spare = this.#ready.pop() ?? this.#next;
    if (spare === this.#next) this.#next = null;
    return spare ?? new Thread(this.#options.heapMb);
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
        await this.#prepare();
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, 'no spare thread could be made; the next replacement takes longer');
    } finally {
      this.#making = null;
    }
  }

  async #prepare(): Promise<void> {
    const { agents, niceIncrement, heapMb } = this.#options;
    const thread = new Thread(heapMb);
    this.#next = thread;
    try {
      await thread.run(PREPARE, 'prepare', { agents, niceIncrement });
    } catch (error) {
      // Whoever has taken it is told by the thread's own answer.
      if (this.#next !== thread) return;
      this.#next = null;
      await thread.terminate();
      throw error;
    }
    if (this.#next !== thread) return;
    this.#next = null;
    this.#ready.push(thread);
  }

  async close(): Promise<void> {
    this.#closing = true;
    // A thread is not terminated in the midst of loading: that takes the process down (Node 20).
    await this.#making;
    await Promise.all(this.#ready.splice(0).map((thread) => thread.terminate()));
  }
}
