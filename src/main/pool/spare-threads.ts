// Threads that take the place of others, or stand in for them: prepared beforehand, so that they are there in milliseconds.
//
// One, from soon after the start on; and where several were needed lately, as many as were.

import type { PrepareTask } from '../../protocol/control.js';
import { CabanaError } from '../../protocol/errors.js';
import {
  SPARE_DEADLINE_MS,
  SPARE_FIRST_AFTER_MS,
  SPARE_THREADS_MAX,
  SPARE_THREADS_MIN,
  SPARE_WINDOW_MS,
} from '../../protocol/limits.js';
import { delay, monotonic, type Clock, type Timer } from '../clock.js';
import type { Log } from '../log.js';
import { Tasks } from '../tasks.js';
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
  readonly #ready = new Set<Thread>();
  /** Instants of the last while at which one was needed. */
  #needs: number[] = [];
  /**
   * How many spares this round may still make. A bound, or modules that kill their thread after loading would keep it
   * going for ever.
   */
  #missing = 0;
  #making = false;
  /** The one that is being made; null: none is, or somebody has taken it. */
  #next: Thread | null = null;
  #stopped = false;
  #stopWaiting: () => void = () => undefined;
  /** Before the first need: until the first is made. Then: until the last need is forgotten. */
  #timer: Timer | null = null;
  readonly #tasks: Tasks;

  constructor(options: SpareThreadsOptions) {
    this.#options = options;
    this.#tasks = new Tasks((error) => {
      options.log.warn({ err: error }, 'no spare thread could be made; the next replacement takes longer');
    });
  }

  /**
   * A ready spare; else the one being prepared (unless urgent); else a new thread.
   * @param urgent a new thread keeps main's priority until it is up
   */
  take({ urgent } = { urgent: false }): Thread {
    for (const spare of this.#ready) {
      this.#ready.delete(spare);
      return spare;
    }
    const next = this.#next;
    if (next && !urgent) {
      this.#next = null;
      return next;
    }
    return this.#begin(urgent ? null : this.#options.nice).thread;
  }

  /** The host is up: provides for the first need, when what came with the start is done. */
  begin(): void {
    this.#timer = this.#options.clock.after(SPARE_FIRST_AFTER_MS, () => this.#replenish());
  }

  /** One was needed, and is in its place: provides for the next need. */
  provide(): void {
    if (this.#stopped) return;
    const { clock } = this.#options;
    const now = monotonic(clock);
    this.#needs = [...this.#needs.filter((at) => now - at < SPARE_WINDOW_MS), now];
    this.#timer?.cancel();
    this.#timer = clock.after(SPARE_WINDOW_MS, () => this.#trim());
    this.#replenish();
  }

  #replenish(): void {
    this.#missing = this.#wanted - this.#ready.size;
    if (!this.#making) this.#tasks.track(this.#make());
  }

  get #wanted(): number {
    const { clock, count } = this.#options;
    const from = monotonic(clock) - SPARE_WINDOW_MS;
    const recent = this.#needs.filter((at) => at > from).length;
    return this.#stopped ? 0 : Math.min(Math.max(recent, SPARE_THREADS_MIN), count, SPARE_THREADS_MAX);
  }

  /** One after the other, so that they take no more than a part of one core from the agents. */
  async #make(): Promise<void> {
    this.#making = true;
    try {
      while (this.#missing-- > 0 && this.#ready.size < this.#wanted) await this.#makeOne();
    } finally {
      this.#making = false;
    }
  }

  async #makeOne(): Promise<void> {
    const { thread, prepared } = this.#begin(this.#options.nice);
    this.#next = thread;
    const isTaken = (): boolean => this.#next !== thread;
    const deadline = delay(this.#options.clock, SPARE_DEADLINE_MS);
    this.#stopWaiting = deadline.stop;
    const late = deadline.elapsed.then(() => {
      throw new CabanaError('THREAD_DIED', 'a spare thread was not prepared in time');
    });
    try {
      await Promise.race([prepared, late]);
    } catch (error) {
      // Whoever has taken it finds out as well.
      if (isTaken()) return;
      this.#next = null;
      await thread.terminate();
      // Nobody needs it any more.
      if (this.#stopped) return;
      throw error;
    } finally {
      late.catch(() => undefined);
      deadline.stop();
    }
    if (isTaken()) return;
    this.#next = null;
    // stop() came in the turn in which it was prepared, and has let go of the others.
    if (this.#stopped) return thread.terminate();
    this.#ready.add(thread);
    // What it has loaded may take it down while it waits, as it does the others.
    thread.death.catch((error: unknown) => {
      if (this.#ready.delete(thread)) this.#options.log.warn({ err: error }, 'a spare thread died');
    });
  }

  #begin(nice: number | null): { thread: Thread; prepared: Promise<void> } {
    const { agents, heapMb } = this.#options;
    const thread = new Thread(heapMb);
    const prepared = bornWith(nice, () => thread.run(PREPARE, 'prepare', { agents, nice } satisfies PrepareTask));
    return { thread, prepared };
  }

  /** They were not needed for a while, and are not worth their memory. */
  #trim(): void {
    for (const spare of this.#ready) {
      if (this.#ready.size <= this.#wanted) break;
      this.#ready.delete(spare);
      this.#tasks.track(spare.terminate());
    }
  }

  /** From now on none is made. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#trim();
    this.#stopWaiting();
  }

  /** Resolves when, after stop(), there is none any more. */
  gone(): Promise<void> {
    return this.#tasks.settled();
  }
}
