// A plain function agent with the default profile: answers with its input.

import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ runs: number }, unknown>({
  profile: 'general',
  load: 'io',
  start: () => ({ runs: 0 }),
  run(ctx, input) {
    ctx.state.runs++;
    return { echo: input, runs: ctx.state.runs };
  },
});
