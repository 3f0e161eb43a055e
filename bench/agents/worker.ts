// The benchmarks' agent: burns CPU or just answers, as its input says.

import { defineAgent } from '../../src/worker/agent.js';

/** Steps of the hash that make a round of a microsecond or so. */
const STEPS_PER_ROUND = 500;

export interface WorkInput {
  /** Rounds of hashing: CPU work whose result can be checked. */
  hash?: number;
  /** What the hash begins with: another digest for each. */
  seed?: number;
  /** Loop until interrupted: with a checkpoint every millisecond of work, or without any. */
  spin?: 'checkpoint' | 'never';
}

/** The state of the hash between two rounds. */
const hash = new Int32Array(2);

/**
 * CPU work with a result that shows that it was done. It allocates nothing: what is compared is who gives it a core, and
 * when, not the garbage collectors of differently sized heaps.
 */
export function hashRounds(rounds: number, seed = 0): string {
  hash[0] = 0x9e3779b9 ^ seed;
  hash[1] = 0x85ebca6b;
  for (let round = 0; round < rounds; round++) hashRound(round);
  return [...hash].map((half) => (half >>> 0).toString(16)).join('-');
}

/**
 * A function of its own, called often, and on 32-bit integers throughout: how fast one long loop is (1 or 3) depends on
 * where in it the compiler came to replace it, which differs from thread to thread.
 */
function hashRound(round: number): void {
  let a = hash[0]!;
  let b = hash[1]!;
  for (let i = 0; i < STEPS_PER_ROUND; i++) {
    a = (Math.imul(a ^ (a >>> 15), 0x2c1b3c6d) + b) | 0;
    b = Math.imul(b ^ (a >>> 13), 0x297a2d39) ^ (round + i);
  }
  hash[0] = a;
  hash[1] = b;
}

export interface WorkState {
  /** How many runs there were. */
  runs: number;
  /** Milliseconds that it has spun, each of them whole. */
  spun: number;
}

export default defineAgent<WorkState, WorkInput>({
  profile: 'worker',
  start: () => ({ runs: 0, spun: 0 }),
  run(ctx, input) {
    ctx.state.runs++;
    if (input.spin) {
      ctx.emit('spinning');
      for (;;) {
        const until = performance.now() + 1;
        while (performance.now() < until);
        ctx.state.spun++;
        if (input.spin === 'checkpoint') ctx.checkpoint();
      }
    }
    return input.hash === undefined
      ? { ok: true, spun: ctx.state.spun }
      : { digest: hashRounds(input.hash, input.seed) };
  },
});
