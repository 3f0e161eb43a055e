// Does what it is told, with its thread to itself.

import { defineAgent } from '../../src/worker/agent.js';
import { act, restore, start, type Act, type ActAnswer, type ActState } from './supervision-act.js';

export default defineAgent<ActState, Act, ActAnswer>({
  profile: 'supervision-cpu',
  start,
  restore,
  run: act,
});
