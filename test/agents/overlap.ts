// An agent that sleeps, and answers with how many runs of it were in progress in its thread at most.

import { setTimeout as sleep } from 'node:timers/promises';
import { defineAgent, type AgentDefinition } from '../../src/worker/agent.js';

export function overlapping(load: 'cpu' | 'io'): AgentDefinition<{ most: number }, { ms: number }, { most: number }> {
  let running = 0;
  return defineAgent<{ most: number }, { ms: number }, { most: number }>({
    profile: `overlap-${load}`,
    load,
    start: () => ({ most: 0 }),
    async run(_ctx, { ms }) {
      running++;
      let most = running;
      const end = performance.now() + ms;
      while (performance.now() < end) {
        await sleep(2);
        most = Math.max(most, running);
      }
      running--;
      return { most };
    },
  });
}
