// Its state is saved only when it leaves memory: until then the sum of its runs is nowhere but in its thread.

import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ sum: number }, { add: number }, { sum: number }>({
  profile: 'process-flush',
  saveWhen: 'flush',
  start: () => ({ sum: 0 }),
  run(ctx, input) {
    ctx.state.sum += input.add;
    return { sum: ctx.state.sum };
  },
});
