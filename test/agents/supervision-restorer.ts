// Misbehaves while it is brought up, as long as the file that its params name is there.

import { existsSync } from 'node:fs';
import { defineAgent } from '../../src/worker/agent.js';

const SPIN_MAX_MS = 60_000;

interface Params {
  exitWhile?: string;
  spinWhile?: string;
}

export default defineAgent<{ n: number }, unknown, { n: number }>({
  profile: 'supervision-restorer',
  start: () => ({ n: 0 }),
  restore: (ctx, saved) => {
    const { exitWhile, spinWhile } = ctx.params as Params;
    if (exitWhile !== undefined && existsSync(exitWhile)) process.exit(7);
    const end = performance.now() + SPIN_MAX_MS;
    while (spinWhile !== undefined && existsSync(spinWhile) && performance.now() < end);
    return saved ?? { n: 0 };
  },
  run: (ctx) => ({ n: ++ctx.state.n }),
});
