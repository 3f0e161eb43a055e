// Does what it is told, and shares its thread.

import { defineAgent } from '../../src/worker/agent.js';
import { act, restore, start, type Act, type ActAnswer, type ActState } from './supervision-act.js';

export default defineAgent<ActState, Act, ActAnswer>({
  profile: 'supervision-io',
  load: 'io',
  start,
  restore,
  run: act,
});
