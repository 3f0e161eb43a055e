// The benchmarks' agent that misbehaves in the way that it is told: it does not stop, or takes its thread down.

import { defineAgent } from '../../src/worker/agent.js';

export const MISDEEDS = ['spin', 'spin deaf', 'exit', 'throw', 'reject', 'hoard'] as const;
export type Misdeed = (typeof MISDEEDS)[number];

/** Kept, so that nothing of it is collected. */
const hoard: unknown[] = [];

export default defineAgent<null, Misdeed>({
  profile: 'villain',
  start: () => null,
  async run(ctx, misdeed) {
    ctx.emit('begun');
    switch (misdeed) {
      case 'spin':
        for (;;) ctx.checkpoint();
      case 'spin deaf':
        for (;;);
      case 'exit':
        process.exit(1);
      case 'throw':
        setTimeout(() => {
          throw new Error('thrown in a timer');
        }, 1);
        break;
      case 'reject':
        hoard.push(Promise.reject(new Error('rejected by nobody')));
        break;
      case 'hoard':
        for (;;) hoard.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
      default:
        throw new Error(`unknown misdeed ${String(misdeed satisfies never)}`);
    }
    // The run does not end before its thread does.
    return new Promise(() => undefined);
  },
});
