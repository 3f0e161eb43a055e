// Like supervision-cpu; saved only when it leaves memory.

import { defineAgent } from '../../src/worker/agent.js';
import { act, restore, start, type Act, type ActAnswer, type ActState } from './supervision-act.js';

export default defineAgent<ActState, Act, ActAnswer>({
  profile: 'supervision-flush',
  saveWhen: 'flush',
  start,
  restore,
  run: act,
});
