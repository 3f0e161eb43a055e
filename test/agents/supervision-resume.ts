// Like supervision-cpu; runs that a crash of the process cut off start again.

import { defineAgent } from '../../src/worker/agent.js';
import { act, restore, start, type Act, type ActAnswer, type ActState } from './supervision-act.js';

export default defineAgent<ActState, Act, ActAnswer>({
  profile: 'supervision-resume',
  onInterrupted: 'resume',
  start,
  restore,
  run: act,
});
