// The agent threads: as many as configured, each replaced when it dies. What a death means for the sessions is told to
// whoever listens; here a thread's number gets a new incarnation.

import { CabanaError } from '../../protocol/errors.js';
import { BOOT_DEADLINE_MS, REPLACE_FIRST_MS, REPLACE_MAX_MS, STOP_DEADLINE_MS } from '../../protocol/limits.js';
import type { AgentProfile } from '../../protocol/session.js';
import { delay, type Clock } from '../clock.js';
import type { Log } from '../log.js';
import { AgentThread, type AgentThreadOptions } from './agent-thread.js';

export interface ThreadGroupOptions extends Omit<AgentThreadOptions, 'no'> {
  count: number;
  clock: Clock;
  log: Log;
  /** Opens the thread's journal link, before its first call. */
  attach: (thread: AgentThread) => Promise<void>;
  /** Takes in what the thread had posted, and closes its link. */
  detach: (no: number) => Promise<void>;
  /** The thread is gone; its replacement comes after this has resolved. */
  onDeath: (thread: AgentThread, reason: CabanaError) => Promise<void>;
  /** A replacement is ready for work. */
  onReplaced: (thread: AgentThread) => void;
}

export class ThreadGroup {
  readonly #options: ThreadGroupOptions;
  readonly #threads: AgentThread[] = [];
  /** The lives of the threads: each ends when its number will have no further incarnation. */
  readonly #lives: Promise<void>[] = [];
  #closing = false;
  #stopWaiting: () => void = () => undefined;

  private constructor(options: ThreadGroupOptions) {
    this.#options = options;
  }

  /**
   * Starts all threads and has each load the agent modules.
   * @throws CabanaError AGENT_MODULE_INVALID; nothing is left running then
   */
  static async start(options: ThreadGroupOptions): Promise<{ group: ThreadGroup; profiles: AgentProfile[] }> {
    const group = new ThreadGroup(options);
    const numbers = Array.from({ length: options.count }, (_, no) => no);
    const threads = numbers.map((no) => group.#make(no));
    try {
      const answers = await Promise.all(threads.map((thread) => group.#greet(thread)));
      for (const thread of threads) group.#lives.push(group.#live(thread));
      return { group, profiles: answers[0] ?? [] };
    } catch (error) {
      await Promise.all(threads.map((thread) => thread.terminate()));
      throw error;
    }
  }

  /** By number; a number whose thread has died holds the dead one until it is replaced. */
  get threads(): readonly AgentThread[] {
    return this.#threads;
  }

  #make(no: number): AgentThread {
    const thread = new AgentThread({ ...this.#options, no });
    this.#threads[no] = thread;
    return thread;
  }

  async #greet(thread: AgentThread): Promise<AgentProfile[]> {
    await this.#options.attach(thread);
    const deadline = delay(this.#options.clock, BOOT_DEADLINE_MS);
    const late = deadline.elapsed.then(() => Promise.reject(new CabanaError('THREAD_DIED', 'a thread did not start')));
    try {
      const { profiles } = await Promise.race([thread.calls.hello(), late]);
      return profiles;
    } finally {
      late.catch(() => undefined);
      deadline.stop();
    }
  }

  /** One number's life: an incarnation until its death, then the next, until the group is closed. */
  async #live(first: AgentThread): Promise<void> {
    let failures = 0;
    for (let thread = first; ;) {
      const reason = await thread.death;
      if (this.#closing) return;
      const why = reason ?? new CabanaError('THREAD_DIED', `thread ${thread.no} ended by itself`);
      this.#options.log.error({ err: why, thread: thread.no }, 'an agent thread died');
      await this.#options.detach(thread.no);
      await this.#options.onDeath(thread, why);
      // A thread that keeps dying at its start is tried again for ever, but less and less often.
      for (;;) {
        if (failures > 0) await this.#wait(Math.min(REPLACE_FIRST_MS * 2 ** (failures - 1), REPLACE_MAX_MS));
        if (this.#closing) return;
        const next = this.#make(first.no);
        try {
          await this.#greet(next);
          thread = next;
          failures = 0;
          break;
        } catch (error) {
          failures++;
          this.#options.log.error({ err: error, thread: first.no }, 'an agent thread could not be replaced yet');
          await next.terminate();
          await this.#options.detach(first.no);
        }
      }
      this.#options.onReplaced(thread);
    }
  }

  async #wait(ms: number): Promise<void> {
    const pause = delay(this.#options.clock, ms);
    const stopBefore = this.#stopWaiting;
    this.#stopWaiting = () => {
      stopBefore();
      pause.stop();
    };
    await pause.elapsed;
  }

  /** Shuts every thread down, agents' stop() included; those that do not answer in time are terminated. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopWaiting();
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
    await Promise.all(this.#lives);
  }
}
