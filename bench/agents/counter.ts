// The benchmarks' agent that works a little and counts, in its state and in its history.

import { defineAgent } from '../../src/worker/agent.js';
import { hashRounds } from './worker.js';

/** About half a millisecond. */
export const WORK_ROUNDS = 500;

export interface Counted {
  n: number;
  /** Of the work of this run, whose seed is `n`. */
  digest: string;
}

export default defineAgent<{ n: number }, null, Counted>({
  profile: 'counter',
  start: () => ({ n: 0 }),
  async run(ctx) {
    ctx.state.n++;
    const digest = hashRounds(WORK_ROUNDS, ctx.state.n);
    await ctx.history.append({ role: 'assistant', n: ctx.state.n });
    return { n: ctx.state.n, digest };
  },
});
