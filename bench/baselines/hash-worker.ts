// The same CPU work as the benchmarks' agent, as a task for Piscina.

import { hashRounds } from '../agents/worker.js';

export interface Hashed {
  digest: string;
  ms: number;
}

export default function hash(rounds: number): Hashed {
  const start = performance.now();
  const digest = hashRounds(rounds);
  return { digest, ms: performance.now() - start };
}
