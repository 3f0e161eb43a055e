// Misbehaves while it is brought up, as long as the file that its params name is there.

import { existsSync, writeFileSync } from 'node:fs';
import { defineAgent } from '../../src/worker/agent.js';

const SPIN_MAX_MS = 60_000;

interface Params {
  exitWhile?: string;
  spinWhile?: string;
  /** Made when it spins. */
  spins?: string;
}

export default defineAgent<{ n: number }, unknown, { n: number }>({
  profile: 'supervision-restorer',
  start: () => ({ n: 0 }),
  restore: (ctx, saved) => {
    const { exitWhile, spinWhile, spins } = ctx.params as Params;
    if (exitWhile !== undefined && existsSync(exitWhile)) process.exit(7);
    if (spins !== undefined && spinWhile !== undefined && existsSync(spinWhile)) writeFileSync(spins, '');
    const end = performance.now() + SPIN_MAX_MS;
    while (spinWhile !== undefined && existsSync(spinWhile) && performance.now() < end);
    return saved ?? { n: 0 };
  },
  run: (ctx) => ({ n: ++ctx.state.n }),
});
