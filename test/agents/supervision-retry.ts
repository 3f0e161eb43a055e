// Like supervision-io; a run starts again once when a neighbour takes its thread down.

import { defineAgent } from '../../src/worker/agent.js';
import { act, restore, start, type Act, type ActAnswer, type ActState } from './supervision-act.js';

export default defineAgent<ActState, Act, ActAnswer>({
  profile: 'supervision-retry',
  load: 'io',
  retry: 1,
  start,
  restore,
  run: act,
});
