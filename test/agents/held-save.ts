// Its save does not come to an end while it is told so, nor does a run that is told to wait. That is forgotten when it
// leaves memory; of an orderly leave, the file `params.trace` tells.

import { writeFileSync } from 'node:fs';
import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ held: boolean }, { hold?: boolean; wait?: boolean }>({
  profile: 'held-save',
  load: 'io',
  saveWhen: 'flush',
  start: () => ({ held: false }),
  run(ctx, { hold, wait }) {
    if (wait) return new Promise<never>(() => undefined);
    ctx.state.held = hold ?? false;
    return ctx.state;
  },
  save: (ctx) => (ctx.state.held ? new Promise<never>(() => undefined) : ctx.state),
  stop(ctx) {
    if (typeof ctx.params['trace'] === 'string') writeFileSync(ctx.params['trace'], '');
  },
});
