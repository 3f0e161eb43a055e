// Has its thread to itself until a file is there, and minds no signal.

import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<object, { gate: string }, null>({
  profile: 'process-deaf',
  async run(_ctx, input) {
    while (!existsSync(input.gate)) await pause(5);
    return null;
  },
});
