// The agent threads: as many as configured, each replaced when it dies. What a death means for the sessions is told to
// whoever listens; here a thread's number gets a new incarnation.

import { CabanaError } from '../../protocol/errors.js';
import {
  BOOT_DEADLINE_MS,
  MESSAGES_TURN_MIN_MS,
  MESSAGES_TURN_MS,
  NOTES_IN_FLIGHT_BYTES,
  NOTES_IN_FLIGHT_MIN_BYTES,
  REPLACE_AFTER_CULPRIT,
  REPLACE_AFTER_OWN_DEATH,
  STOP_DEADLINE_MS,
  type Backoff,
} from '../../protocol/limits.js';
import type { AgentProfile } from '../../protocol/session.js';
import { delay, type Clock } from '../clock.js';
import type { Log } from '../log.js';
import { Tasks } from '../tasks.js';
import { AgentThread, type AgentThreadOptions } from './agent-thread.js';
import { SpareThreads } from './spare-threads.js';
import { replaceDelayMs, shortLivesAfter } from './verdict.js';
import { Thread } from './worker-pool.js';

export interface ThreadGroupOptions extends Omit<
  AgentThreadOptions,
  'no' | 'thread' | 'noteWindowBytes' | 'turnMaxMs'
> {
  count: number;
  /** Megabytes of a thread's old-generation heap; null: Node's default. */
  heapMb: number | null;
  clock: Clock;
  log: Log;
  /** Opens the thread's journal link, before its first call. */
  attach: (thread: AgentThread) => Promise<void>;
  /** Takes in what the thread had posted, and closes its link. */
  detach: (no: number) => Promise<void>;
  /** The thread is gone. */
  onDeath: (thread: AgentThread, reason: CabanaError) => Promise<void>;
  /** A replacement is ready for work. */
  onReplaced: (thread: AgentThread) => void;
}

export class ThreadGroup {
  readonly #options: ThreadGroupOptions;
  readonly #threads: AgentThread[] = [];
  /** The lives of the threads: each ends when its number will have no further incarnation. */
  readonly #lives: Tasks;
  readonly #spares: SpareThreads;
  readonly #waitingForThread: (() => void)[] = [];
  #closing = false;
  /** Ends of the waits before replacements. */
  readonly #waits = new Set<() => void>();

  private constructor(options: ThreadGroupOptions) {
    this.#options = options;
    this.#spares = new SpareThreads(options);
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
      // All of them first, also after a failure: a thread is not terminated in the midst of loading.
      const greeted = threads.map((thread) => group.#greet(thread));
      await Promise.allSettled(greeted);
      const answers = await Promise.all(greeted);
      for (const thread of threads) group.#lives.track(group.#live(thread));
      return { group, profiles: answers[0] ?? [] };
    } catch (error) {
      // For the same reason they are asked to end: without a store no thread was greeted, and they may still be starting.
      await group.close();
      throw error;
    }
  }

  /** By number; a number whose thread has died holds the dead one until it is replaced. */
  get threads(): readonly AgentThread[] {
    return this.#threads;
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
    const { count } = this.#options;
    const thread = new AgentThread({
      ...this.#options,
      no,
      thread: executing,
      noteWindowBytes: Math.max(NOTES_IN_FLIGHT_MIN_BYTES, Math.floor(NOTES_IN_FLIGHT_BYTES / count)),
      turnMaxMs: Math.max(MESSAGES_TURN_MIN_MS, MESSAGES_TURN_MS / count),
    });
    this.#threads[no] = thread;
    return thread;
  }

  async #greet(thread: AgentThread): Promise<AgentProfile[]> {
    await this.#options.attach(thread);
    const deadline = delay(this.#options.clock, BOOT_DEADLINE_MS);
    const late = deadline.elapsed.then(() => Promise.reject(new CabanaError('THREAD_DIED', 'a thread did not start')));
    try {
      const { profiles } = await Promise.race([thread.calls.hello(), late]);
      thread.isUp();
      return profiles;
    } finally {
      late.catch(() => undefined);
      deadline.stop();
    }
  }

  /** One number's life: an incarnation until its death, then the next, until the group is closed. */
  async #live(first: AgentThread): Promise<void> {
    const { log, clock, onDeath } = this.#options;
    let thread: AgentThread | null = first;
    // Counted apart: what sessions do to a thread tells nothing of how well it starts.
    const shortLives = new Map<Backoff, number>();
    while (thread) {
      const bornAt = clock.now();
      const reason = await thread.death;
      if (this.#closing) return;
      const why = reason ?? new CabanaError('THREAD_DIED', `thread ${thread.no} ended by itself`);
      log.error({ err: why, thread: thread.no }, 'an agent thread died');
      await this.#detach(thread.no);
      // Not awaited before the replacement is there: with no other thread alive, sessions wait for it under their locks,
      // and what a death means for them waits for those locks.
      const mourned = onDeath(thread, why).catch((error: unknown) => {
        log.error({ err: error }, 'a death could not be dealt with to its end');
      });
      const backoff = thread.culpritSlot === null ? REPLACE_AFTER_OWN_DEATH : REPLACE_AFTER_CULPRIT;
      shortLives.set(backoff, shortLivesAfter(shortLives.get(backoff) ?? 0, clock.now() - bornAt, backoff));
      await this.#wait(replaceDelayMs(shortLives.get(backoff)!, backoff));
      thread = await this.#replace(first.no);
      if (thread) {
        this.#announce(thread);
        // Only now, so that it does not compete with the replacement.
        this.#spares.provide();
      }
      await mourned;
    }
  }

  #announce(thread: AgentThread): void {
    for (const wake of this.#waitingForThread.splice(0)) wake();
    this.#options.onReplaced(thread);
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
        await this.#greet(next);
        return next;
      } catch (error) {
        // While closing, close() has terminated it.
        if (!this.#closing)
          this.#options.log.error({ err: error, thread: no }, 'an agent thread could not be replaced yet');
        await next.terminate();
        await this.#detach(no);
      }
    }
  }

  async #detach(no: number): Promise<void> {
    try {
      await this.#options.detach(no);
    } catch (error) {
      // The store is gone: the host is told of that, and closes.
      this.#options.log.error({ err: error, thread: no }, 'what a dead thread had posted could not be taken in');
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
    await Promise.all(
      this.#threads.map(async (thread) => {
        const deadline = delay(this.#options.clock, STOP_DEADLINE_MS);
        // A dead thread answers at once with THREAD_DIED; a deaf one loses its chance at the deadline.
        const answered = thread.calls.shutdown().catch(() => undefined);
        await Promise.race([answered, deadline.elapsed]);
        deadline.stop();
        await thread.terminate();
      }),
    );
    await this.#lives.settled();
    await this.#spares.gone();
  }
}
