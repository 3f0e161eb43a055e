// Which idle agents leave memory, and when: beyond maxIdleAgents the least recently used, and whoever is stale.

import { CabanaError } from '../../protocol/errors.js';
import { PASSIVATE_IN_FLIGHT_AGENTS, STALE_AFTER_MS } from '../../protocol/limits.js';
import type { Clock } from '../clock.js';
import type { Directory } from './directory.js';
import type { Lifecycle } from './lifecycle.js';
import type { Session } from './session.js';

export interface PassivatorParts {
  directory: Directory;
  lifecycle: Lifecycle;
  clock: Clock;
  maxIdleAgents: number;
}

export class Passivator {
  readonly #parts: PassivatorParts;
  /** Chosen, and not gone yet: two sweeps at a time do not choose the same ones. */
  readonly #leaving = new Set<Session>();

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
    const before = clock.now() - STALE_AFTER_MS;
    const victims: Session[] = [];
    for (const session of directory.idle()) {
      // Least recently used first: the rest is younger.
      if (session.usedAt > before) break;
      if (this.#mayLeave(session)) victims.push(session);
    }
    return this.#passivateAll(victims);
  }

  #mayLeave(session: Session): boolean {
    if (this.#leaving.has(session) || !session.isUnused) return false;
    return session.saveRetryAt <= this.#parts.clock.now();
  }

  /** Every victim is made durable before it is released; the ids of those that left. One that fails stays, and is marked. */
  async #passivateAll(victims: readonly Session[]): Promise<string[]> {
    for (const session of victims) this.#leaving.add(session);
    const left: string[] = [];
    const queue = victims.values();
    const worker = async (): Promise<void> => {
      for (const session of queue) {
        try {
          if (await this.#parts.lifecycle.passivate(session)) left.push(session.id);
        } catch (error) {
          // The lifecycle has marked it, logged it, and will not have it chosen again before its time.
          if (!(error instanceof CabanaError)) throw error;
        } finally {
          this.#leaving.delete(session);
        }
      }
    };
    await Promise.all(Array.from({ length: PASSIVATE_IN_FLIGHT_AGENTS }, worker));
    return left;
  }
}
