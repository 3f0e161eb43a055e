// An agent that sleeps, and answers with how many runs of it were in progress in its thread at most while it did.

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineAgent, type AgentDefinition } from '../../src/worker/agent.js';

export interface Overlap {
  /** Sleeps for so long. */
  ms?: number;
  /** And until this file is there. */
  until?: string;
  /** And until so many have been in progress at once. */
  among?: number;
}

export interface Most {
  most: number;
}

const SLEEP_MAX_MS = 60_000;

export function overlapping(load: 'cpu' | 'io'): AgentDefinition<Most, Overlap, Most> {
  const running = new Set<Most>();
  return defineAgent<Most, Overlap, Most>({
    profile: `overlap-${load}`,
    load,
    start: () => ({ most: 0 }),
    async run(_ctx, { ms = 0, until, among = 1 }) {
      const mine: Most = { most: 0 };
      running.add(mine);
      for (const each of running) each.most = Math.max(each.most, running.size);
      const startedAt = performance.now();
      const over = (): boolean => {
        const sleptMs = performance.now() - startedAt;
        if (sleptMs > SLEEP_MAX_MS) return true;
        return sleptMs >= ms && mine.most >= among && (until === undefined || existsSync(until));
      };
      while (!over()) await sleep(2);
      running.delete(mine);
      return mine;
    },
  });
}
