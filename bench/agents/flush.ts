// The benchmarks' agent with a state that is saved only when it leaves memory.

import { defineAgent } from '../../src/worker/agent.js';
import { work, type WorkInput, type WorkState } from './worker.js';

export default defineAgent<WorkState, WorkInput>({
  profile: 'flush',
  saveWhen: 'flush',
  start: () => ({}),
  run: (ctx, input) => work(ctx, input),
});
