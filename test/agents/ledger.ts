// A sum that is saved only when it leaves memory: after a crash it is what was saved and the tail of the history.
// Its answer tells what it was restored from.

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineAgent } from '../../src/worker/agent.js';

export interface LedgerInput {
  /** Amounts to enter, one entry each. */
  add?: number[];
  /** Milliseconds between two of them. */
  everyMs?: number;
  /** Before the amount of this index: until this file is there. */
  pause?: { at: number; until: string };
  /** Then the thread dies. */
  exit?: boolean;
  /** Then wait until it is interrupted. */
  wait?: boolean;
}

interface State {
  sum: number;
  entries: number;
}

interface Answer extends State {
  /** Role and seq of each entry of the tail; null: it was started, not restored. */
  tail: [string, number][] | null;
  savedSum: number | null;
}

const restored = new Map<string, Pick<Answer, 'tail' | 'savedSum'>>();

export default defineAgent<State, LedgerInput, Answer>({
  profile: 'ledger',
  load: 'io',
  saveWhen: 'flush',
  start: () => ({ sum: 0, entries: 0 }),
  restore: (ctx, saved, tail) => {
    const state = { ...(saved ?? { sum: 0, entries: 0 }) };
    restored.set(ctx.sessionId, {
      tail: tail.map((entry) => [String(entry.role), entry.seq]),
      savedSum: saved?.sum ?? null,
    });
    for (const entry of tail) {
      if (entry.role !== 'amount') continue;
      state.sum += entry['amount'] as number;
      state.entries++;
    }
    return state;
  },
  async run(ctx, input) {
    for (const [i, amount] of (input.add ?? []).entries()) {
      while (i === input.pause?.at && !existsSync(input.pause.until)) await sleep(2);
      ctx.state.sum += amount;
      ctx.state.entries++;
      ctx.history.append({ role: 'amount', amount });
      if (input.everyMs !== undefined) await sleep(input.everyMs);
    }
    if (input.exit) {
      await ctx.history.durable();
      process.exit(1);
    }
    if (input.wait) await sleep(1_000_000, undefined, { signal: ctx.signal });
    return { ...ctx.state, ...(restored.get(ctx.sessionId) ?? { tail: null, savedSum: null }) };
  },
  // A save that takes its time; what it saves is the state at its beginning.
  save: async (ctx) => {
    const saved = { ...ctx.state };
    const { saveMs } = ctx.params as { saveMs?: number };
    if (saveMs !== undefined) await sleep(saveMs);
    return saved;
  },
});
