// Counts. Its history and its state must always agree: every assistant entry carries the count after it.

import { defineAgent } from '../../src/worker/agent.js';

export interface CounterInput {
  /** How far to count. */
  by?: number;
  /** Then loop for ever: 'check' with checkpoints, 'never' without. */
  spin?: 'check' | 'never';
  /** Then sleep, as asynchronous code that minds its signal. */
  sleepMs?: number;
  throws?: string;
  /** Entries to append before the count. */
  entries?: number;
}

export default defineAgent<{ n: number }, CounterInput, { n: number }>({
  profile: 'counter',
  start: () => ({ n: 0 }),
  restore: (_ctx, saved, tail) => {
    const state = saved ?? { n: 0 };
    for (const entry of tail) if (entry.role === 'assistant') state.n = entry['n'] as number;
    return state;
  },
  async *run(ctx, input) {
    for (let i = 0; i < (input.entries ?? 0); i++) ctx.history.append({ role: 'note', i });
    for (let i = 0; i < (input.by ?? 0); i++) {
      ctx.state.n++;
      ctx.history.append({ role: 'assistant', n: ctx.state.n });
      ctx.progress(i / (input.by ?? 1), 'counting');
      yield { n: ctx.state.n };
    }
    if (input.throws !== undefined) throw new Error(input.throws);
    if (input.spin) {
      // Whoever sees this knows that nothing but a checkpoint stops it from here on.
      ctx.progress(1, 'spinning');
      for (;;) if (input.spin === 'check') ctx.checkpoint();
    }
    if (input.sleepMs !== undefined) {
      ctx.signal.throwIfAborted();
      await new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, input.sleepMs);
        ctx.signal.addEventListener('abort', () => {
          clearTimeout(timer);
          reject(ctx.signal.reason as Error);
        });
      });
    }
    return { n: ctx.state.n };
  },
});
