// The benchmarks' agent that only answers, beside others on its thread.

import { defineAgent } from '../../src/worker/agent.js';

/** Asked this, it says how many runs it has had. */
export const HOW_MANY = 'how many?';

export default defineAgent<{ n: number }, unknown>({
  profile: 'light',
  load: 'io',
  start: () => ({ n: 0 }),
  run(ctx, input) {
    ctx.state.n++;
    return input === HOW_MANY ? ctx.state.n : input;
  },
});
