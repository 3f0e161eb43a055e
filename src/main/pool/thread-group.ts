// The agent threads: as many as configured, each replaced when it dies, and stand-ins for those that are held up. What a
// death means for the sessions is told to whoever listens; here a thread's number gets a new incarnation.

import { CabanaError } from '../../protocol/errors.js';
import { REPLACE_AFTER_CULPRIT, REPLACE_AFTER_OWN_DEATH, type Backoff } from '../../protocol/limits.js';
import type { AgentProfile } from '../../protocol/session.js';
import { delay, monotonic } from '../clock.js';
import { Tasks } from '../tasks.js';
import type { AgentThread } from './agent-thread.js';
import { Incarnations, type IncarnationsOptions } from './incarnations.js';
import { SpareThreads } from './spare-threads.js';
import { StandIns } from './stand-ins.js';
import { replaceDelayMs, shortLivesAfter } from './verdict.js';
import { Thread } from './worker-pool.js';

export interface ThreadGroupOptions extends IncarnationsOptions {
  /** Megabytes of a thread's old-generation heap; null: Node's default. */
  heapMb: number | null;
  /**
   * The thread is gone. What that means for its sessions waits for their locks, and for room on the disk: nothing of that
   * is awaited here, or a number would not be refilled, and the group not closed, before it is over.
   */
  onDeath: (thread: AgentThread, reason: CabanaError) => void;
  /** A thread is ready for work. */
  onReady: () => void;
  /** Moves what lives in a thread that is to end elsewhere, as far as it can be moved now. True: nobody lived there. */
  empty: (thread: AgentThread) => Promise<boolean>;
  /** Takes charge of work that the group's end does not wait for, for the same reason. */
  track: (task: Promise<unknown>) => void;
}

export class ThreadGroup {
  readonly #options: ThreadGroupOptions;
  readonly #incarnations: Incarnations;
  readonly #numbered: AgentThread[] = [];
  readonly #standIns: StandIns;
  #threads: readonly AgentThread[] = [];
  /** The lives of the threads: each ends when its number will have no further incarnation. */
  readonly #lives: Tasks;
  readonly #spares: SpareThreads;
  readonly #waitingForThread: (() => void)[] = [];
  #closing = false;
  /** Ends of the waits before replacements. */
  readonly #waits = new Set<() => void>();

  private constructor(options: ThreadGroupOptions) {
    this.#options = options;
    this.#incarnations = new Incarnations(options);
    this.#spares = new SpareThreads(options);
    this.#standIns = new StandIns({
      ...options,
      incarnations: this.#incarnations,
      spares: this.#spares,
      onReady: () => this.#announce(),
      onDeath: (thread, reason) => this.#mourn(thread, reason),
      onChange: () => this.#gather(),
    });
    this.#lives = new Tasks((error) => options.log.error({ err: error }, 'a thread will not be replaced any more'));
  }

  /**
   * Starts all threads and has each load the agent modules.
   * @throws CabanaError AGENT_MODULE_INVALID; nothing is left running then
   */
  static async start(options: ThreadGroupOptions): Promise<{ group: ThreadGroup; profiles: AgentProfile[] }> {
    const group = new ThreadGroup(options);
    const numbers = Array.from({ length: options.count }, (_, no) => no);
    const threads = numbers.map((no) => group.#make(no, new Thread(options.heapMb)));
    try {
      // Wait for every greeting even after one has failed: a thread must not be terminated while it loads modules.
      const greeted = threads.map((thread) => group.#incarnations.greet(thread));
      await Promise.allSettled(greeted);
      const answers = await Promise.all(greeted);
      for (const thread of threads) group.#lives.track(group.#live(thread));
      group.#spares.begin();
      return { group, profiles: answers[0] ?? [] };
    } catch (error) {
      // Ask them to end rather than terminate them, for the same reason: if the store did not open, none was greeted
      // and some are still loading.
      await group.close();
      throw error;
    }
  }

  /**
   * Those that agents are put into: first as many as configured, by number (a number whose thread has died holds the dead
   * one until it is replaced), then the stand-ins. Another array after each change.
   */
  get threads(): readonly AgentThread[] {
    return this.#threads;
  }

  /** Those that are about to end as well. */
  get all(): readonly AgentThread[] {
    return [...this.#numbered, ...this.#standIns.all];
  }

  /**
   * Provides stand-ins for the threads that are held up.
   * @param starved whether somebody waits for a thread
   */
  standIn(heldUp: ReadonlySet<AgentThread>, starved: boolean): void {
    if (this.#closing) return;
    this.#standIns.provide({
      heldUp: this.#threads.filter((thread) => heldUp.has(thread)).length,
      dead: this.#numbered.filter((thread) => !thread.alive).length,
      starved,
    });
  }

  /** Resolves when a dead thread has been replaced, or the group is closed. */
  replaced(): Promise<void> {
    if (this.#closing) return Promise.resolve();
    return new Promise((resolve) => this.#waitingForThread.push(resolve));
  }

  get closing(): boolean {
    return this.#closing;
  }

  #make(no: number, executing: Thread): AgentThread {
    const thread = this.#incarnations.make(no, executing);
    this.#numbered[no] = thread;
    this.#gather();
    return thread;
  }

  #gather(): void {
    this.#threads = [...this.#numbered, ...this.#standIns.open];
  }

  /** One number's life: an incarnation until its death, then the next, until the group is closed. */
  async #live(first: AgentThread): Promise<void> {
    const { clock } = this.#options;
    let thread: AgentThread | null = first;
    // Counted apart: what sessions do to a thread tells nothing of how well it starts.
    const shortLives = new Map<Backoff, number>();
    while (thread) {
      const bornAt = monotonic(clock);
      const reason = await thread.death;
      if (this.#closing) return;
      await this.#incarnations.detach(thread.no);
      this.#mourn(thread, reason);
      const backoff = thread.culpritSlot === null ? REPLACE_AFTER_OWN_DEATH : REPLACE_AFTER_CULPRIT;
      shortLives.set(backoff, shortLivesAfter(shortLives.get(backoff) ?? 0, monotonic(clock) - bornAt, backoff));
      await this.#wait(replaceDelayMs(shortLives.get(backoff)!, backoff));
      thread = await this.#replace(first.no);
      if (thread) {
        this.#announce();
        // Only now, so that it does not compete with the replacement.
        this.#spares.provide();
      }
    }
  }

  #mourn(thread: AgentThread, reason: CabanaError | null): void {
    const { log, onDeath } = this.#options;
    const why = reason ?? new CabanaError('THREAD_DIED', `thread ${thread.no} ended by itself`);
    log.error({ err: why, thread: thread.no }, 'an agent thread died');
    onDeath(thread, why);
  }

  #announce(): void {
    for (const wake of this.#waitingForThread.splice(0)) wake();
    this.#options.onReady();
  }

  /**
   * The next incarnation. One that fails to start is tried again for ever, less and less often: the pool never stops
   * refilling. Null: the group is closed.
   */
  async #replace(no: number): Promise<AgentThread | null> {
    for (let failures = 0; ; failures++) {
      await this.#wait(replaceDelayMs(failures, REPLACE_AFTER_OWN_DEATH));
      if (this.#closing) return null;
      const next = this.#make(no, this.#spares.take());
      try {
        await this.#incarnations.greet(next);
        return next;
      } catch (error) {
        // While closing, close() has terminated it.
        if (!this.#closing)
          this.#options.log.error({ err: error, thread: no }, 'an agent thread could not be replaced yet');
        await next.terminate();
        await this.#incarnations.detach(no);
      }
    }
  }

  async #wait(ms: number): Promise<void> {
    if (ms === 0 || this.#closing) return;
    const pause = delay(this.#options.clock, ms);
    this.#waits.add(pause.stop);
    await pause.elapsed;
    this.#waits.delete(pause.stop);
  }

  /** Shuts every thread down, agents' stop() included; those that do not answer in time are terminated. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#spares.stop();
    for (const stop of this.#waits) stop();
    for (const wake of this.#waitingForThread.splice(0)) wake();
    await Promise.all([...this.#numbered.map((thread) => this.#incarnations.shutDown(thread)), this.#standIns.close()]);
    await this.#lives.settled();
    await this.#spares.gone();
  }
}
