// Its save does not come to an end while it is told so. That is forgotten when it leaves memory.

import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ held: boolean }, { hold: boolean }>({
  profile: 'held-save',
  load: 'io',
  saveWhen: 'flush',
  start: () => ({ held: false }),
  run(ctx, { hold }) {
    ctx.state.held = hold;
    return ctx.state;
  },
  save: (ctx) => (ctx.state.held ? new Promise<never>(() => undefined) : ctx.state),
});
