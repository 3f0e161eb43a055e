// Its state cannot be saved while it is told so.

import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ n: number; broken: boolean }, { broken: boolean }, { n: number }>({
  profile: 'unsaveable',
  saveWhen: 'flush',
  start: () => ({ n: 0, broken: false }),
  run(ctx, { broken }) {
    ctx.state = { n: ctx.state.n + 1, broken };
    return { n: ctx.state.n };
  },
  save: (ctx) => {
    if (ctx.state.broken) throw new Error('no');
    return ctx.state;
  },
});
