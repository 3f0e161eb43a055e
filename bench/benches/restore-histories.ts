// The histories that restore brings up: written by the store itself, each entry with a number that nobody else can know.

import { randomInt } from 'node:crypto';
import Sqlite from 'better-sqlite3';
import { encodeEntry } from '../../src/protocol/codec.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import type { WriteOp } from '../../src/worker/store/store.js';
import type { BenchRun } from '../harness.js';

const ENTRY_BYTES = 128;
/** Sums of so many stay whole numbers. */
const NUMBERS_BELOW = 2 ** 32;
const OPS_A_COMMIT = 2_000;
/** Of the host that made the session, and of the writing here. */
export const EPOCH_BEFORE = 2;

/** A session as it is on disk: `snapshot` is fresh, or was taken before the history began. */
export interface Stored {
  id: string;
  history: number;
  fresh: boolean;
}

/**
 * Gives each session its history, in the place of what the host wrote there.
 * @returns by id the sum of the numbers in it
 */
export async function writeHistories(
  b: BenchRun,
  database: string,
  sessions: readonly Stored[],
): Promise<Map<string, number>> {
  onDatabase(database, (db) =>
    db.exec('DELETE FROM journal; DELETE FROM runs; UPDATE snapshots SET seq = 0, waiting = NULL'),
  );
  const sums = new Map<string, number>();
  const store = new SqliteStore(database);
  try {
    for (const { id, history } of sessions) sums.set(id, await append(b, store, id, history));
  } finally {
    await store.close();
  }
  onDatabase(database, (db) => {
    const snapshotAt = db.prepare(
      'UPDATE snapshots SET seq = ? WHERE session = (SELECT key FROM sessions WHERE id = ?)',
    );
    for (const { id, history, fresh } of sessions) snapshotAt.run(fresh ? history : 0, id);
    db.pragma('wal_checkpoint(TRUNCATE)');
    checkHistories(b, db, sessions);
  });
  return sums;
}

function onDatabase(path: string, work: (db: Sqlite.Database) => unknown): void {
  const db = new Sqlite(path);
  try {
    work(db);
  } finally {
    db.close();
  }
}

async function append(b: BenchRun, store: SqliteStore, sessionId: string, history: number): Promise<number> {
  const content = 'x'.repeat(ENTRY_BYTES);
  const commit = async (ops: WriteOp[]) => {
    const results = await store.commit(ops);
    const failed = results.find((result) => 'error' in result);
    b.check(failed === undefined, `the history of ${sessionId} is refused: ${JSON.stringify(failed)}`);
    return results[0];
  };
  const result = await commit([{ kind: 'load', sessionId }]);
  const loaded = result && 'ok' in result ? result.ok.loaded : null;
  b.check(loaded?.epoch === EPOCH_BEFORE, `${sessionId} is there`);
  const { key, epoch } = loaded;
  let sum = 0;
  for (let n = 1; n <= history;) {
    const ops: WriteOp[] = [];
    for (; n <= history && ops.length < OPS_A_COMMIT; n++) {
      const i = randomInt(NUMBERS_BELOW);
      sum += i;
      const body = encodeEntry({ role: 'assistant', content, i });
      ops.push({ kind: 'append', key, epoch, n, at: Date.now(), body });
    }
    await commit(ops);
  }
  return sum;
}

/** They are as long as they are to be, without a gap. */
function checkHistories(b: BenchRun, db: Sqlite.Database, sessions: readonly Stored[]): void {
  interface Row {
    n: number;
    first: number;
    last: number;
    bytes: number;
    snapshot: number;
  }
  const rowOf = db.prepare<[string], Row>(
    `SELECT count(*) AS n, min(journal.seq) AS first, max(journal.seq) AS last, min(length(journal.body)) AS bytes,
        snapshots.seq AS snapshot
      FROM sessions JOIN journal ON journal.session = key JOIN snapshots ON snapshots.session = key WHERE sessions.id = ?`,
  );
  for (const { id, history, fresh } of sessions) {
    const { n, first, last, bytes, snapshot } = rowOf.get(id)!;
    const isWhole = n === history && first === 1 && last === history;
    b.check(isWhole, `the history of ${id} has ${n} of ${history} entries, ${first} to ${last}`);
    b.check(bytes >= ENTRY_BYTES, `an entry of ${id} has ${bytes} bytes`);
    b.check(snapshot === (fresh ? history : 0), `the snapshot of ${id} is from entry ${snapshot}`);
  }
  const all = sessions.reduce((sum, { history }) => sum + history, 0);
  const rows = db.prepare<[], { n: number }>('SELECT count(*) AS n FROM journal').get()!.n;
  b.check(rows === all, `there are ${rows} entries of ${all}`);
}
