// Compacts: its state shrinks to one number. How long that takes, and whether it waits or holds the thread, its input
// has said.

import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { defineAgent } from '../../src/worker/agent.js';

export interface CompactState {
  log: number[];
  compactions: number;
  /** Compaction begins by tearing its state apart, and goes on when this file is there. */
  until: string | null;
  how: 'spin' | 'wait';
  /** Its rollback throws; the restore that brings it up does not. */
  unrestorable: boolean;
  /** When it has been compacted, its save throws. */
  unsaveable: boolean;
}

export interface CompactInput {
  add?: number;
  until?: string | null;
  how?: 'spin' | 'wait';
  unrestorable?: boolean;
  unsaveable?: boolean;
}

const MAX_MS = 60_000;

/** The activations that have executed something. */
const hasRun = new WeakSet<object>();

export default defineAgent<CompactState, CompactInput, CompactState>({
  profile: 'supervision-compact',
  start: () => ({ log: [], compactions: 0, until: null, how: 'wait', unrestorable: false, unsaveable: false }),
  restore(ctx, saved) {
    if (saved.unrestorable && hasRun.has(ctx)) throw new Error('what it needs cannot be read');
    return saved;
  },
  save({ state }) {
    if (state.unsaveable && state.compactions > 0) throw new Error('it cannot be saved');
    return state;
  },
  run(ctx, input) {
    hasRun.add(ctx);
    if (input.add !== undefined) ctx.state.log.push(input.add);
    if (input.until !== undefined) ctx.state.until = input.until;
    if (input.how !== undefined) ctx.state.how = input.how;
    if (input.unrestorable !== undefined) ctx.state.unrestorable = input.unrestorable;
    if (input.unsaveable !== undefined) ctx.state.unsaveable = input.unsaveable;
    return ctx.state;
  },
  async compact(ctx) {
    const { state } = ctx;
    const sum = state.log.reduce((a, b) => a + b, 0);
    state.log = [];
    ctx.progress(0.5, 'compacting');
    const end = performance.now() + MAX_MS;
    while (state.until !== null && !existsSync(state.until) && performance.now() < end) {
      if (state.how === 'spin') ctx.checkpoint();
      else await pause(3, undefined, { signal: ctx.signal });
    }
    state.log = [sum];
    state.compactions++;
  },
});
