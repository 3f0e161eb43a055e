// The benchmarks' agent: burns CPU, emits, appends, or just answers, as its input says.

import { defineAgent, type AgentContext } from '../../src/worker/agent.js';

/** Steps of the hash that make a round of a microsecond or so. */
const STEPS_PER_ROUND = 500;

export interface WorkInput {
  /** Rounds of hashing: CPU work whose result can be checked. */
  hash?: number;
  /** What the hash begins with: another digest for each. */
  seed?: number;
  /** Events to emit, as fast as can be. */
  events?: number;
  /** Entries to append, of so many bytes each, made durable before the run ends. */
  append?: number;
  bytes?: number;
  /** Loop until interrupted: with a checkpoint every millisecond of work, or without any. */
  spin?: 'checkpoint' | 'never';
  /** Replace the state by so many bytes. */
  stateBytes?: number;
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
  runs?: number;
  filler?: Uint8Array;
}

export async function work(ctx: AgentContext<WorkState>, input: WorkInput): Promise<unknown> {
  if (input.stateBytes !== undefined) ctx.state = { filler: Buffer.alloc(input.stateBytes, 7) };
  ctx.state.runs = (ctx.state.runs ?? 0) + 1;
  for (let i = 0; i < (input.events ?? 0); i++) ctx.emit(i);
  if (input.append !== undefined) {
    const text = 'x'.repeat(input.bytes ?? 1024);
    for (let i = 0; i < input.append; i++) await ctx.history.append({ role: 'assistant', content: text, i });
    await ctx.history.durable();
  }
  if (input.spin) {
    ctx.emit('spinning');
    for (;;) {
      const until = performance.now() + 1;
      while (performance.now() < until);
      if (input.spin === 'checkpoint') ctx.checkpoint();
    }
  }
  return input.hash === undefined ? { ok: true } : { digest: hashRounds(input.hash, input.seed) };
}

export default defineAgent<WorkState, WorkInput>({
  profile: 'worker',
  start: () => ({}),
  run: (ctx, input) => work(ctx, input),
});
