// Saves only when it leaves memory, but journals what it does, and makes its state whole again from the journal.

import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ sum: number }, { add: number }, { sum: number }>({
  profile: 'process-ledger',
  saveWhen: 'flush',
  start: () => ({ sum: 0 }),
  restore(_ctx, saved, tail) {
    const state = saved ?? { sum: 0 };
    for (const entry of tail) if (entry.role === 'added') state.sum += entry['add'] as number;
    return state;
  },
  run(ctx, input) {
    ctx.history.append({ role: 'added', add: input.add });
    ctx.state.sum += input.add;
    return { sum: ctx.state.sum };
  },
});
