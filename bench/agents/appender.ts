// The benchmarks' agent that appends entries and waits for the disk after each, as many sessions at a time as there are.

import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite, { type Statement } from 'better-sqlite3';
import { defineAgent } from '../../src/worker/agent.js';

export interface AppendInput {
  entries: number;
  bytes: number;
  /** Unix milliseconds at which all sessions begin together. */
  startAt: number;
  /** Where each entry is looked for when it is acknowledged: a check, and not to be timed. */
  database?: string;
}

export interface Appended {
  /** Unix milliseconds of the first append. */
  firstAt: number;
  /** Unix milliseconds of the last acknowledgement. */
  endAt: number;
  /** Milliseconds from each append() to its durable(). */
  ackMs: number[];
  /** Entries that were acknowledged and not there. */
  unwritten: number;
}

let look: Statement<[string], { seq: number | null }> | undefined;

/** The last entry of the session that whoever opens the database finds there; 0: none, or nobody is to look. */
function lastSeq(sessionId: string, database: string | undefined): number {
  if (database === undefined) return 0;
  look ??= new Sqlite(database, { readonly: true }).prepare(
    'SELECT max(seq) AS seq FROM journal WHERE session = (SELECT key FROM sessions WHERE id = ?)',
  );
  return look.get(sessionId)?.seq ?? 0;
}

export function epochNow(): number {
  return performance.timeOrigin + performance.now();
}

export default defineAgent<object, AppendInput>({
  profile: 'appender',
  load: 'io',
  saveWhen: 'flush',
  start: () => ({}),
  async run(ctx, input): Promise<Appended> {
    const content = 'x'.repeat(input.bytes);
    const ackMs: number[] = [];
    const before = lastSeq(ctx.sessionId, input.database);
    let unwritten = 0;
    // A timer may be early by the part of a millisecond that it does not know of.
    for (let ms; (ms = input.startAt - epochNow()) > 0;) await sleep(Math.ceil(ms));
    const firstAt = epochNow();
    for (let i = 0; i < input.entries; i++) {
      const start = performance.now();
      await ctx.history.append({ role: 'assistant', content, i });
      await ctx.history.durable();
      ackMs.push(performance.now() - start);
      if (input.database !== undefined && lastSeq(ctx.sessionId, input.database) <= before + i) unwritten++;
    }
    return { firstAt, endAt: epochNow(), ackMs, unwritten };
  },
});
