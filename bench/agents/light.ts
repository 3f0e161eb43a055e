// The benchmarks' agent that only answers, beside others on its thread.

import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ n: number }, unknown>({
  profile: 'light',
  load: 'io',
  start: () => ({ n: 0 }),
  run(ctx, input) {
    ctx.state.n++;
    return input;
  },
});
