// Holds megabytes of objects on the heap while it is in memory, and saves one number.

import { defineAgent } from '../../src/worker/agent.js';

interface State {
  n: number;
  ballast: unknown[];
}

const OBJECTS_PER_MB = 16_000;

function load(mb: number): unknown[] {
  return Array.from({ length: mb * OBJECTS_PER_MB }, (_, i) => ({ i, text: i, more: i }));
}

export default defineAgent<State, { mb: number }, { n: number }>({
  profile: 'supervision-ballast',
  start: () => ({ n: 0, ballast: [] }),
  restore: (_ctx, saved) => ({ n: saved?.n ?? 0, ballast: [] }),
  run(ctx, { mb }) {
    ctx.state = { n: ctx.state.n + 1, ballast: load(mb) };
    return { n: ctx.state.n };
  },
  save: (ctx) => ({ n: ctx.state.n, ballast: [] }),
});
