// What append left on disk: every entry that was acknowledged, whole and in order, without a gap.

import Sqlite, { type Database } from 'better-sqlite3';
import { decodeEntry } from '../../src/protocol/codec.js';
import { ENTRY_KIND } from '../../src/protocol/journal.js';
import type { BenchRun } from '../harness.js';

export interface Expected {
  sessions: number;
  runs: number;
  /** The `i` of each entry of a session, in order: the same in all of them. */
  entries: readonly number[];
  bytes: number;
}

export function checkAppended(b: BenchRun, path: string, expected: Expected): void {
  const db = new Sqlite(path, { readonly: true });
  try {
    checkCounts(b, db, expected);
    checkBodies(b, db, expected);
  } finally {
    db.close();
  }
}

function checkCounts(b: BenchRun, db: Database, { sessions, runs, entries: expected }: Expected): void {
  interface Row {
    n: number;
    first: number;
    last: number;
    entries: number;
  }
  const rows = db
    .prepare<[number], Row>(
      `SELECT count(*) AS n, min(seq) AS first, max(seq) AS last, sum(kind = ?) AS entries
        FROM journal GROUP BY session`,
    )
    .all(ENTRY_KIND.agent);
  b.check(rows.length === sessions, `${rows.length} of ${sessions} sessions have a history`);
  for (const { n, first, last, entries } of rows) {
    b.check(entries === expected.length, `${entries} of ${expected.length} entries are on disk`);
    b.check(first === 1 && last === n && n === expected.length + 2 * runs, 'the seqs are contiguous');
  }
}

function checkBodies(b: BenchRun, db: Database, { entries, bytes }: Expected): void {
  const bodies = db
    .prepare<[number], { body: Uint8Array }>('SELECT body FROM journal WHERE session = 1 AND kind = ? ORDER BY seq')
    .all(ENTRY_KIND.agent);
  for (const [k, { body }] of bodies.entries()) {
    const entry = decodeEntry(body);
    const whole = (entry['content'] as string).length === bytes && entry['i'] === entries[k];
    b.check(whole, `entry ${k} of the first session is as it was appended`);
  }
}
