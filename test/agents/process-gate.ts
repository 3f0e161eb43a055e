// Waits for a file, so that a test decides when a run ends. Minds its signal.

import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ passed: number }, { gate: string }, { passed: number }>({
  profile: 'process-gate',
  load: 'io',
  start: () => ({ passed: 0 }),
  async run(ctx, input) {
    while (!existsSync(input.gate)) await pause(5, undefined, { signal: ctx.signal });
    ctx.state.passed++;
    return { passed: ctx.state.passed };
  },
});
