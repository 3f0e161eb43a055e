// The benchmarks' agent with a state that can be told from any other's, and that says what it was restored from.

import { createHash } from 'node:crypto';
import { defineAgent } from '../../src/worker/agent.js';

export interface KeptState {
  bytes: Uint8Array;
  /** How often it was restored. */
  restores: number;
  /** Entries in the tails that it was restored with, and the sum of their `i`. */
  tail: number;
  sum: number;
}

export interface Kept {
  sha256: string;
  restores: number;
  tail: number;
  sum: number;
  historySeq: number;
}

/** Bytes that nobody else has, the same every time. */
export function bytesOf(sessionId: string, count: number): Buffer {
  return createHash('shake256', { outputLength: count }).update(sessionId).digest();
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export default defineAgent<KeptState, { fill?: number }>({
  profile: 'keeper',
  load: 'io',
  saveWhen: 'flush',
  start: () => ({ bytes: new Uint8Array(0), restores: 0, tail: 0, sum: 0 }),
  restore(_ctx, saved, tail) {
    const state = saved;
    state.restores++;
    for (const entry of tail) {
      state.tail++;
      state.sum += Number(entry['i']);
    }
    return state;
  },
  run(ctx, input): Kept {
    if (input.fill !== undefined) ctx.state.bytes = bytesOf(ctx.sessionId, input.fill);
    const { bytes, restores, tail, sum } = ctx.state;
    return { sha256: sha256(bytes), restores, tail, sum, historySeq: ctx.history.length };
  },
});
