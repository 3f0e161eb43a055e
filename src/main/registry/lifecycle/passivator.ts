// Which idle agents leave memory, and when: beyond maxIdleAgents the least recently used,
// likewise on a thread whose heap is nearly full, and whoever is stale.

import { CabanaError } from '../../../protocol/errors.js';
import {
  HEAP_HIGH_FRACTION,
  HEAP_LOW_FRACTION,
  PASSIVATE_IN_FLIGHT_AGENTS,
  STALE_AFTER_MS,
} from '../../../protocol/limits.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import { monotonic, type Clock } from '../../clock.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import { inFlight } from '../../tasks.js';
import type { Directory } from '../sessions/directory.js';
import type { Session } from '../sessions/session.js';
import type { Departures } from './departures.js';

export interface PassivatorParts {
  directory: Directory;
  departures: Departures;
  clock: Clock;
  table: StatusTable;
  threads: () => readonly AgentThread[];
  maxIdleAgents: number;
}

export class Passivator {
  readonly #parts: PassivatorParts;
  /** Chosen, and not gone yet: two sweeps at a time do not choose the same ones. */
  readonly #leaving = new Set<Session>();
  /** Numbers of threads whose heap passed the high mark and is not below the low one yet. */
  readonly #pressed = new Set<number>();
  /** At which heartbeat each thread was relieved last. */
  readonly #relievedAt = new WeakMap<AgentThread, number>();

  constructor(parts: PassivatorParts) {
    this.#parts = parts;
  }

  /** See SessionRegistry.evictExcessIdle. */
  async evictExcessIdle(): Promise<string[]> {
    const { directory, maxIdleAgents } = this.#parts;
    // In one step: what is chosen here is made durable outside of it, one session's lock at a time.
    const victims: Session[] = [];
    let excess = directory.idleCount - this.#leaving.size - maxIdleAgents;
    for (const session of directory.idle()) {
      if (excess <= 0) break;
      if (!this.#mayLeave(session)) continue;
      victims.push(session);
      excess--;
    }
    return this.#passivateAll(victims);
  }

  /** See SessionRegistry.cleanupStale. */
  async cleanupStale(): Promise<string[]> {
    const { directory, clock } = this.#parts;
    const before = monotonic(clock) - STALE_AFTER_MS;
    const victims: Session[] = [];
    for (const session of directory.idle()) {
      // Least recently used first: the rest is younger.
      if (session.usedAtMonotonicMs > before) break;
      if (this.#mayLeave(session)) victims.push(session);
    }
    for (const session of directory.all()) {
      // Failed ones have no agent; what is kept of them is the reason.
      if (session.state === 'failed' && session.usedAtMonotonicMs <= before)
        await this.#parts.departures.forgetFailed(session);
    }
    return this.#passivateAll(victims);
  }

  /**
   * Relieves threads whose heap is nearly full, from HEAP_HIGH_FRACTION of its limit until it is below HEAP_LOW_FRACTION:
   * each sweep passivates, least recently used first, as many idle agents as would bring the heap to the low mark if
   * all were of average size. Memory is freed only by a collection, so the next sweep checks again.
   */
  async relieveHeaps(): Promise<string[]> {
    const victims: Session[] = [];
    const relieved: AgentThread[] = [];
    for (const thread of this.#parts.threads()) {
      const used = this.#parts.table.getThread(thread.no, 'heapUsedBytes');
      const fraction = used / (this.#parts.table.getThread(thread.no, 'heapLimitBytes') || Infinity);
      if (fraction >= HEAP_HIGH_FRACTION) this.#pressed.add(thread.no);
      if (fraction < HEAP_LOW_FRACTION) this.#pressed.delete(thread.no);
      if (!this.#pressed.has(thread.no) || !thread.alive) continue;
      // What has left is still in a heap that was not measured since: a busy thread lets go of it at its next turn.
      const beat = this.#parts.table.getThread(thread.no, 'heartbeat');
      if (this.#relievedAt.get(thread) === beat) continue;
      this.#relievedAt.set(thread, beat);
      relieved.push(thread);
      const share = Math.ceil(thread.sessions * (1 - HEAP_LOW_FRACTION / Math.max(fraction, HEAP_LOW_FRACTION)));
      victims.push(...this.#oldestOn(thread, Math.max(1, share)));
    }
    const left = await this.#passivateAll(victims);
    for (const thread of relieved) {
      // A run that has the thread makes garbage of its own, and is not to be held up. One that died has no heap any more.
      if (!thread.cpuBusy) await thread.calls.collect().catch(() => undefined);
    }
    return left;
  }

  #oldestOn(thread: AgentThread, count: number): Session[] {
    const oldest: Session[] = [];
    for (const session of this.#parts.directory.idle()) {
      if (oldest.length >= count) break;
      if (session.place?.thread === thread && this.#mayLeave(session)) oldest.push(session);
    }
    return oldest;
  }

  #mayLeave(session: Session): boolean {
    if (this.#leaving.has(session) || !session.isUnused) return false;
    // Its thread could not save it now, and would keep it locked until it can.
    if (session.place?.thread.cpuBusy && !session.clean) return false;
    return session.saveRetryAt <= monotonic(this.#parts.clock);
  }

  /** Every victim is made durable before it is released; the ids of those that left. One that fails stays, and is marked. */
  async #passivateAll(victims: readonly Session[]): Promise<string[]> {
    if (victims.length === 0) return [];
    for (const session of victims) this.#leaving.add(session);
    const left: string[] = [];
    await inFlight(victims, PASSIVATE_IN_FLIGHT_AGENTS, async (session) => {
      try {
        if (await this.#parts.departures.passivate(session)) left.push(session.id);
      } catch (error) {
        // Departures has logged a failed save and set saveRetryAt; the session stays.
        if (!(error instanceof CabanaError)) throw error;
      } finally {
        this.#leaving.delete(session);
      }
    });
    return left;
  }
}
