// The same CPU work as the benchmarks' agent, as a task for Piscina.

import { getPriority } from 'node:os';
import { threadId } from 'node:worker_threads';
import { hashRounds } from '../agents/worker.js';

export interface HashTask {
  rounds: number;
  /** What the hash begins with: another digest for each. */
  seed: number;
}

export interface Hashed {
  digest: string;
  ms: number;
  /** The process and the thread that did it. */
  place: string;
  /** How nice that thread is. */
  nice: number;
}

const place = `${process.pid}.${threadId}`;

export default function hash({ rounds, seed }: HashTask): Hashed {
  const start = performance.now();
  const digest = hashRounds(rounds, seed);
  const ms = performance.now() - start;
  return { digest, ms, place, nice: getPriority() };
}
