// Incarnations of agent threads: made, greeted, taken in by the store when they are dead, shut down. (Which there are, and
// who comes after whom: thread-group.ts.)

import { CabanaError } from '../../protocol/errors.js';
import {
  BOOT_DEADLINE_MS,
  MESSAGES_TURN_MIN_MS,
  MESSAGES_TURN_MS,
  NOTES_IN_FLIGHT_BYTES,
  NOTES_IN_FLIGHT_MIN_BYTES,
  STOP_DEADLINE_MS,
} from '../../protocol/limits.js';
import type { AgentProfile } from '../../protocol/session.js';
import { LATE, within, type Clock } from '../clock.js';
import type { Log } from '../log.js';
import { AgentThread, type AgentThreadOptions } from './agent-thread.js';
import { isForSuspects } from './placement.js';
import type { Thread } from './worker-pool.js';

export interface IncarnationsOptions extends Omit<
  AgentThreadOptions,
  'no' | 'forSuspects' | 'thread' | 'noteWindowBytes' | 'turnMaxMs'
> {
  /** Agent threads that share what may be on its way to main. */
  count: number;
  clock: Clock;
  log: Log;
  /** Opens the thread's journal link, before its first call. */
  attach: (thread: AgentThread) => Promise<void>;
  /** Takes in what the thread had posted, and closes its link. */
  detach: (no: number) => Promise<void>;
}

export class Incarnations {
  readonly #options: IncarnationsOptions;
  /** Of the agents that the host has: those that its first thread loaded. */
  #profiles: ReadonlySet<string> | null = null;

  constructor(options: IncarnationsOptions) {
    this.#options = options;
  }

  /** @param executing new, or prepared */
  make(no: number, executing: Thread): AgentThread {
    const { count } = this.#options;
    return new AgentThread({
      ...this.#options,
      no,
      forSuspects: isForSuspects(no, count),
      thread: executing,
      noteWindowBytes: Math.max(NOTES_IN_FLIGHT_MIN_BYTES, Math.floor(NOTES_IN_FLIGHT_BYTES / count)),
      turnMaxMs: Math.max(MESSAGES_TURN_MIN_MS, MESSAGES_TURN_MS / count),
    });
  }

  /**
   * Has the thread load its agents. From then on it is up.
   * @throws CabanaError AGENT_MODULE_INVALID, THREAD_DIED
   */
  async greet(thread: AgentThread): Promise<AgentProfile[]> {
    await this.#options.attach(thread);
    const answer = await within(this.#options.clock, BOOT_DEADLINE_MS, thread.calls.hello());
    if (answer === LATE) {
      throw new CabanaError('THREAD_DIED', `thread ${thread.no} did not load its agents within ${BOOT_DEADLINE_MS} ms`);
    }
    this.#assertComplete(thread, answer.profiles);
    thread.markUp();
    return answer.profiles;
  }

  /**
   * Files may be edited under the host. A thread that lacks an agent is as good as one that cannot load it: its sessions
   * wait for the file to be put right, instead of failing on some threads and not on others.
   */
  #assertComplete({ no }: AgentThread, loaded: readonly AgentProfile[]): void {
    const profiles = new Set(loaded.map(({ profile }) => profile));
    this.#profiles ??= profiles;
    for (const profile of this.#profiles) {
      if (profiles.has(profile)) continue;
      const what = `thread ${no} found no agent "${profile}" any more: its file was changed while the host was running`;
      throw new CabanaError('AGENT_MODULE_INVALID', what);
    }
  }

  /** Has the store take in what the dead thread had posted: its number is free then. */
  async detach(no: number): Promise<void> {
    try {
      await this.#options.detach(no);
    } catch (error) {
      // The store is gone: the host is told of that, and closes.
      this.#options.log.error({ err: error, thread: no }, 'what a dead thread had posted could not be taken in');
    }
  }

  /** Ends a thread, its agents' stop() included; one that does not answer in time is terminated. */
  async shutDown(thread: AgentThread): Promise<void> {
    // A dead thread answers at once with THREAD_DIED; a deaf one loses its chance at the deadline.
    const answered = thread.shutDown().catch(() => undefined);
    await within(this.#options.clock, STOP_DEADLINE_MS, answered);
    await thread.terminate();
  }
}
