// What append left on disk: every entry that was acknowledged, whole and in order, without a gap.

import { crc32 } from 'node:zlib';
import Sqlite, { type Database } from 'better-sqlite3';
import { encodeEntry } from '../../src/protocol/codec.js';
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
  interface Row {
    session: number;
    crc: number;
    body: Buffer;
  }
  const rows = db
    .prepare<[number], Row>('SELECT session, crc, body FROM journal WHERE kind = ? ORDER BY session, seq')
    .iterate(ENTRY_KIND.agent);
  const content = 'x'.repeat(bytes);
  const known = new Map<number, Uint8Array>();
  let k = 0;
  for (const { session, crc, body } of rows) {
    // The same entries in every session, whose counts are right.
    const i = entries[k++ % entries.length]!;
    const whole = known.get(i) ?? encodeEntry({ role: 'assistant', content, i });
    known.set(i, whole);
    b.check(body.equals(whole), `entry ${i} of session ${session} is not as it was appended`);
    b.check(crc === crc32(body), `entry ${i} of session ${session} has the checksum ${crc}`);
  }
}
