// Goes astray in an async function, beyond what the thread shows of it: spins after it has awaited something, or loses
// an entry on its way to the store.

import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { defineAgent } from '../../src/worker/agent.js';

export type Astray = { spinUntil: string } | { loseEntry: true } | { say: string };

const SPIN_MAX_MS = 60_000;

export default defineAgent<{ said: number }, Astray, number>({
  profile: 'astray',
  load: 'io',
  start: () => ({ said: 0 }),
  async run(ctx, input) {
    if ('spinUntil' in input) {
      await pause(1);
      writeFileSync(`${input.spinUntil}.spins`, '');
      const end = performance.now() + SPIN_MAX_MS;
      while (!existsSync(input.spinUntil) && performance.now() < end);
    }
    // The host's own method: counts an entry that is never sent.
    if ('loseEntry' in input) (ctx.history as unknown as { nextFence(): void }).nextFence();
    if ('say' in input) ctx.history.append({ role: 'note', text: input.say });
    return ++ctx.state.said;
  },
});
