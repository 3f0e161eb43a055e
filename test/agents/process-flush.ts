// Its state is saved only when it leaves memory: until then the sum of its runs is nowhere but in its thread.

import { defineAgent } from '../../src/worker/agent.js';

interface State {
  sum: number;
  /** What a run was given to make the state larger. */
  pad: string;
}

export default defineAgent<State, { add: number; pad?: string }, { sum: number }>({
  profile: 'process-flush',
  saveWhen: 'flush',
  start: () => ({ sum: 0, pad: '' }),
  run(ctx, input) {
    ctx.state.sum += input.add;
    ctx.state.pad += input.pad ?? '';
    return { sum: ctx.state.sum };
  },
});
