// Random numbers that can be repeated: SEED=... repeats what a test printed.

import type { TestContext } from 'node:test';

export function seedOf(t: TestContext): number {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  t.diagnostic(`SEED=${seed} repeats it`);
  return seed;
}

/** mulberry32. */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomOf(t: TestContext): () => number {
  return seeded(seedOf(t));
}
