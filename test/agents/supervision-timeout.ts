// Like supervision-cpu; its runs have a second and a half.

import { defineAgent } from '../../src/worker/agent.js';
import { act, restore, start, type Act, type ActAnswer, type ActState } from './supervision-act.js';

export default defineAgent<ActState, Act, ActAnswer>({
  profile: 'supervision-timeout',
  runTimeoutMs: 1_500,
  start,
  restore,
  run: act,
});
