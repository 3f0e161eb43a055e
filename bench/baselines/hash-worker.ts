// The same CPU work as the benchmarks' agent, as a task for Piscina.

import { hashRounds } from '../agents/worker.js';

export interface HashTask {
  rounds: number;
  /** What the hash begins with: another digest for each. */
  seed: number;
}

export interface Hashed {
  digest: string;
  ms: number;
}

export default function hash({ rounds, seed }: HashTask): Hashed {
  const start = performance.now();
  const digest = hashRounds(rounds, seed);
  return { digest, ms: performance.now() - start };
}
