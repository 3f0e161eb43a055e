// Takes its thread down in every way there is.

import { setTimeout as sleep } from 'node:timers/promises';
import { defineAgent } from '../../src/worker/agent.js';

export interface CrasherInput {
  how?: 'exit' | 'timer' | 'rejection';
  /** Crash only after this run has ended. */
  later?: boolean;
}

/** Kept, and awaited by nobody. */
export let rejected: Promise<never> | null = null;

export default defineAgent<{ n: number }, CrasherInput, { n: number }>({
  profile: 'crasher',
  start: () => ({ n: 0 }),
  async run(ctx, input) {
    ctx.state.n++;
    ctx.history.append({ role: 'assistant', n: ctx.state.n });
    if (!input.how) return ctx.state;
    const crash = (): void => {
      if (input.how === 'exit') process.exit(7);
      if (input.how === 'timer') throw new Error('thrown in a timer');
      rejected = Promise.reject(new Error('rejected by nobody'));
    };
    setTimeout(crash, input.later ? 50 : 0);
    if (!input.later) await sleep(1_000_000);
    return ctx.state;
  },
});
