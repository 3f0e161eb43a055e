// The contract on SQLite, and what is SQLite's own: damage, a full disk, versions.

import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import Sqlite from 'better-sqlite3';
import { decodeEntry } from '../../src/protocol/codec.js';
import { recordPage } from '../../src/protocol/record-page.js';
import { CHECKPOINT_FROM_BYTES } from '../../src/protocol/limits.js';
import { GroupCommitter } from '../../src/worker/store/committer.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import type { OpResult, WriteOp } from '../../src/worker/store/store.js';
import { tempDir } from '../support/temp.js';
import { storeContract } from './contract.js';
import { Activation, accept, AT, create, endRun, entry, load, record, seqs, write } from './records.js';

function openAt(t: TestContext, path: string, maxPages?: number): SqliteStore {
  const store = new SqliteStore(path, maxPages === undefined ? {} : { maxPages });
  t.after(() => store.close());
  return store;
}

const newPath = (t: TestContext): string => join(tempDir(t), 'cabana.db');

storeContract('SqliteStore', async (t) => openAt(t, newPath(t)));

/** Changes the database behind the store's back. */
function tamper(path: string, sql: string): void {
  const db = new Sqlite(path);
  try {
    assert.ok(db.prepare(sql).run().changes > 0, 'something was changed');
  } finally {
    db.close();
  }
}

/** Makes the first page of a table's rows one that SQLite cannot read. The database is closed. */
function damageFirstLeaf(path: string, table: string): void {
  const db = new Sqlite(path);
  const leaf = `SELECT pgoffset FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path LIMIT 1`;
  const offset = db.prepare<[string], number>(leaf).pluck().get(table)!;
  db.close();
  const file = readFileSync(path);
  file[offset] = 0xee;
  writeFileSync(path, file);
}

describe('SqliteStore: files', () => {
  test('what was committed is there after the file is opened again', async (t) => {
    const path = newPath(t);
    const first = new SqliteStore(path);
    await create(first, record('a', { name: 'A' }));
    const a = await Activation.of(first, 'a');
    await a.commit(a.append(1), a.save('one'), a.append(2));
    await accept(first, 'a', 'r1');
    await first.close();
    const second = openAt(t, path);
    const loaded = await load(second, 'a');
    assert.deepEqual([loaded.epoch, loaded.seq, seqs(loaded.tail)], [2, 3, [2]]);
    assert.equal(loaded.record.name, 'A');
    assert.equal((await second.run('a', 'r1'))!.state, 'queued');
    const [stale] = await second.commit([a.append(3)]);
    assert.equal('error' in stale! && stale.error.code, 'STALE_EPOCH');
  });

  test('an epoch and the start of a run wait for no sync, but for the next one; whatever else is committed is synced', async (t) => {
    const store = openAt(t, newPath(t));
    await create(store, record('a'));
    await accept(store, 'a', 'r1');
    assert.equal(store.unsynced, false);
    const a = await Activation.of(store, 'a');
    assert.equal(store.unsynced, true);
    await a.commit(a.start('r1'), a.append(1));
    assert.equal(store.unsynced, false);
    await Activation.of(store, 'a');
    await store.sync();
    assert.equal(store.unsynced, false);
  });

  test('what was committed while the host drained is left in the log, and is there after the next start', async (t) => {
    const path = newPath(t);
    const first = new SqliteStore(path);
    await create(first, record('a'));
    const a = await Activation.of(first, 'a');
    first.drain();
    const large = 'x'.repeat(CHECKPOINT_FROM_BYTES);
    await a.commit(a.append('small'), a.save(large));
    assert.equal(first.upkeepDue, false, 'nothing is written twice now');
    await first.close();
    assert.ok(statSync(`${path}-wal`).size > CHECKPOINT_FROM_BYTES);
    const second = openAt(t, path);
    assert.equal(second.upkeepDue, true);
    const [before, log] = [statSync(path).size, statSync(`${path}-wal`).size];
    await second.upkeep();
    assert.ok(before < CHECKPOINT_FROM_BYTES && statSync(path).size > CHECKPOINT_FROM_BYTES && log > 0);
    assert.equal(second.upkeepDue, false);
    assert.equal((await load(second, 'a')).snapshot!.byteLength, large.length);
    assert.deepEqual(seqs(await second.entries(a.loaded.key, 1, 10)), [1]);
  });

  test('a log that another program has removed is the end: nothing is lost, nothing more is acknowledged', async (t) => {
    const path = newPath(t);
    const first = new SqliteStore(path);
    await create(first, record('a'));
    const a = await Activation.of(first, 'a');
    await a.commit(a.append(1));
    rmSync(`${path}-wal`);
    await assert.rejects(first.commit([a.append(2)]), { code: 'STORE_IO', message: /removed the log/ });
    // As a process that is killed leaves it: without an orderly close.
    const copy = newPath(t);
    copyFileSync(path, copy);
    await first.close();
    const second = openAt(t, copy);
    assert.deepEqual(seqs((await load(second, 'a')).tail), [1, 2]);
  });

  test('a copy that is made by VACUUM INTO while the store is open is a database of its own', async (t) => {
    const path = newPath(t);
    const store = openAt(t, path);
    await create(store, record('a', { name: 'Ada' }), record('b'));
    const a = await Activation.of(store, 'a');
    await a.commit(a.append(1), a.save('one'), a.append(2));
    await accept(store, 'a', 'r1');
    await write(store, { kind: 'remove', sessionId: 'b', at: AT });
    const copy = newPath(t);
    const backup = new Sqlite(path, { readonly: true });
    backup.prepare('VACUUM INTO ?').run(copy);
    backup.close();
    // Of the store, which goes on, and not of its copy.
    await a.commit(a.append(3));
    // Its searches ask the index.
    const copied = new SqliteStore(copy, { scanRows: 0 });
    t.after(() => copied.close());
    assert.deepEqual(
      recordPage(await copied.page({ q: 'ada' })).records.map((found) => found.sessionId),
      ['a'],
    );
    const loaded = await load(copied, 'a');
    assert.deepEqual([loaded.epoch, loaded.seq, seqs(loaded.tail)], [2, 3, [2]]);
    assert.equal((await copied.run('a', 'r1'))!.state, 'queued');
    assert.equal(await copied.record('b'), null);
  });

  test('a folder of a newer version is refused by name, and not changed', async (t) => {
    const path = newPath(t);
    await new SqliteStore(path).close();
    const db = new Sqlite(path);
    db.pragma('user_version = 999');
    db.pragma('journal_mode = DELETE');
    db.close();
    assert.throws(() => new SqliteStore(path), { code: 'STORE_SCHEMA', message: /999/ });
    const check = new Sqlite(path, { readonly: true });
    t.after(() => check.close());
    assert.equal(check.pragma('user_version', { simple: true }), 999);
  });

  test('the database of another program is refused, and left as it is', (t) => {
    const path = newPath(t);
    const others = new Sqlite(path);
    others.exec('CREATE TABLE contacts (name TEXT)');
    others.close();
    assert.throws(() => new SqliteStore(path), { code: 'STORE_SCHEMA', message: /another program/ });
    const check = new Sqlite(path, { readonly: true });
    t.after(() => check.close());
    assert.deepEqual(check.prepare('SELECT name FROM sqlite_master').all(), [{ name: 'contacts' }]);
  });

  test('a database that is not in its place any more is the end: nothing more is acknowledged', async (t) => {
    const path = newPath(t);
    const store = new SqliteStore(path);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await a.commit(a.append(1));
    renameSync(path, `${path}.moved`);
    await assert.rejects(store.commit([a.append(2)]), { code: 'STORE_IO', message: /removed or replaced/ });
    renameSync(`${path}.moved`, path);
    await store.close();
  });

  test('a file that is no database is refused as failed storage', (t) => {
    const path = newPath(t);
    writeFileSync(path, 'this is not a database '.repeat(100));
    assert.throws(() => new SqliteStore(path), { code: 'STORE_IO' });
    assert.match(readFileSync(path, 'utf8'), /^this is not/);
  });
});

describe('SqliteStore: search', () => {
  test('a text is found however many newer sessions do not hold it', async (t) => {
    const store = openAt(t, newPath(t));
    const filler = Array.from({ length: 2200 }, (_, i) =>
      record(`n${i}`, { name: 'newer', createdAt: new Date(AT + 1000 + i).toISOString() }),
    );
    await create(store, record('old', { name: 'rare pearl' }), ...filler);
    for (const q of ['pearl', 'rl', 'old', 'E P']) {
      assert.deepEqual(
        recordPage(await store.page({ q, limit: 5 })).records.map((r) => r.sessionId),
        ['old'],
        q,
      );
    }
    const common = recordPage(await store.page({ q: 'newer', limit: 3 }));
    assert.deepEqual(
      common.records.map((r) => r.sessionId),
      ['n2199', 'n2198', 'n2197'],
    );
    assert.equal(common.hasMore, true);
  });

  test('a q with a NUL in it is text like any other', async (t) => {
    const store = openAt(t, newPath(t));
    await create(store, record('a', { name: 'abcdef' }));
    for (const q of ['\0', 'abc\0', '\0abc', 'ab\0cd'])
      assert.deepEqual(recordPage(await store.page({ q })).records, [], JSON.stringify(q));
  });

  test('what separates name from id in the index is not found by anybody', async (t) => {
    const store = openAt(t, newPath(t));
    await create(store, record('a', { name: 'abcdef' }));
    for (const q of ['\u0001', 'f\u0001', 'ef\u0001a'])
      assert.deepEqual(recordPage(await store.page({ q })).records, [], JSON.stringify(q));
  });
});

describe('SqliteStore: damage', () => {
  async function twoSessions(t: TestContext) {
    const path = newPath(t);
    const store = openAt(t, path);
    await create(store, record('hurt'), record('fine'));
    const hurt = await Activation.of(store, 'hurt');
    const fine = await Activation.of(store, 'fine');
    await hurt.commit(hurt.append(1), hurt.save('state of hurt'), hurt.append(2), hurt.append(3));
    await fine.commit(fine.append(1), fine.save('state of fine'), fine.append(2));
    return { path, store, hurt: hurt.loaded.key, fine: fine.loaded.key };
  }

  test('a damaged entry is named when it is read, and costs its session alone', async (t) => {
    const { path, store, hurt, fine } = await twoSessions(t);
    tamper(path, `UPDATE journal SET body = x'0180' WHERE session = ${hurt} AND seq = 2`);
    const corrupt = { code: 'STORE_CORRUPT', message: /entry 2 of session hurt/ };
    await assert.rejects(store.entries(hurt, 1, 10), corrupt);
    await assert.rejects(store.entriesBefore(hurt, null, 2), corrupt);
    const [damaged, whole] = await store.commit([
      { kind: 'load', sessionId: 'hurt' },
      { kind: 'load', sessionId: 'fine' },
    ]);
    assert.equal('error' in damaged! && damaged.error.code, 'STORE_CORRUPT');
    assert.ok('ok' in whole!);
    assert.deepEqual(seqs(whole.ok.loaded!.tail), [2]);
    // What is not damaged can still be read.
    assert.deepEqual(seqs(await store.entries(hurt, 3, 10)), [3]);
    assert.deepEqual(
      (await store.entries(fine, 1, 10)).map((row) => decodeEntry(row.body).content),
      [1, 2],
    );
    assert.equal(recordPage(await store.page({})).records.length, 2);
  });

  test('a damaged page of the database costs the session that is read from it alone, when it is loaded', async (t) => {
    const path = newPath(t);
    const first = new SqliteStore(path);
    await create(first, record('hurt'), record('fine'));
    const hurt = await Activation.of(first, 'hurt');
    for (let i = 0; i < 40; i++) await hurt.commit(hurt.append('x'.repeat(500)));
    const fine = await Activation.of(first, 'fine');
    await fine.commit(fine.append(1));
    await first.close();
    damageFirstLeaf(path, 'journal');
    const store = openAt(t, path);
    const committer = new GroupCommitter(store, { onBatch: () => undefined, onFatal: assert.fail });
    const [damaged, whole] = await Promise.all(
      ['hurt', 'fine'].map((sessionId) => {
        const op = { kind: 'load', sessionId } as const;
        return new Promise<OpResult>((done) => committer.submit({ op, whenFull: 'refuse', done }));
      }),
    );
    assert.ok('error' in damaged!);
    assert.deepEqual([damaged.error.code, damaged.error.message.includes('session hurt')], ['STORE_CORRUPT', true]);
    assert.ok('ok' in whole!);
    assert.deepEqual(seqs(whole.ok.loaded!.tail), [1]);
  });

  test('an entry that is missing is named, and not left out', async (t) => {
    const { path, store, hurt, fine } = await twoSessions(t);
    const missing = (seq: number) => ({ code: 'STORE_CORRUPT', message: new RegExp(`entry ${seq} of .*missing`) });
    tamper(path, `DELETE FROM journal WHERE session = ${hurt} AND seq = 2`);
    await assert.rejects(store.entries(hurt, 1, 10), missing(2));
    await assert.rejects(store.entries(hurt, 2, 10), missing(2));
    await assert.rejects(store.entriesBefore(hurt, null, 10), missing(2));
    await assert.rejects(load(store, 'hurt'), missing(2));
    assert.deepEqual(seqs(await store.entries(hurt, 3, 10)), [3]);
    assert.deepEqual(seqs(await store.entries(hurt, 4, 10)), []);
    tamper(path, `DELETE FROM journal WHERE session = ${fine}`);
    await write(store, { kind: 'release', sessionId: 'fine', epoch: null });
    await assert.rejects(load(store, 'fine'), missing(1));
  });

  test('a damaged snapshot is named with its session when that is loaded, and costs it alone', async (t) => {
    const { path, store, hurt } = await twoSessions(t);
    tamper(path, `UPDATE snapshots SET body = x'00' WHERE session = ${hurt}`);
    await assert.rejects(load(store, 'hurt'), { code: 'STORE_CORRUPT', message: /snapshot of session hurt/ });
    assert.equal(Buffer.from((await load(store, 'fine')).snapshot!).toString(), 'state of fine');
    assert.deepEqual(seqs(await store.entries(hurt, 1, 10)), [1, 2, 3]);
    assert.deepEqual(await write(store, { kind: 'remove', sessionId: 'hurt', at: AT }), { removed: true });
  });

  test('a damaged output costs its run alone, which is over all the same', async (t) => {
    const path = newPath(t);
    const store = openAt(t, path);
    await create(store, record('a'));
    for (const runId of ['hurt', 'fine', 'older']) await accept(store, 'a', runId);
    const a = await Activation.of(store, 'a');
    for (const runId of ['hurt', 'fine', 'older']) await a.commit(a.start(runId), a.end(runId));
    tamper(path, "UPDATE runs SET output = CAST('output of else' AS BLOB) WHERE run_id = 'hurt'");
    // As a version of Cabana left it that kept no checksum.
    tamper(path, "UPDATE runs SET crc = NULL WHERE run_id = 'older'");
    const found = async (runId: string): Promise<unknown[]> => {
      const { state, output, code } = (await store.run('a', runId))!;
      return [state, output && Buffer.from(output).toString(), code];
    };
    assert.deepEqual(await found('hurt'), ['completed', null, 'STORE_CORRUPT']);
    assert.deepEqual(await found('fine'), ['completed', 'output of fine', null]);
    assert.deepEqual(await found('older'), ['completed', 'output of older', null]);
  });
});

describe('SqliteStore: a full disk', () => {
  /** A store without room for another page, and with a way to make room. */
  async function fullStore(t: TestContext) {
    const path = newPath(t);
    const roomy = new SqliteStore(path);
    await create(roomy, record('a'), record('b'), record('filler'));
    const filler = await Activation.of(roomy, 'filler');
    await filler.commit(...Array.from({ length: 50 }, () => filler.append('x'.repeat(20_000))));
    await roomy.close();
    const db = new Sqlite(path);
    const pages = db.pragma('page_count', { simple: true }) as number;
    db.close();
    const store = openAt(t, path, pages);
    const makeRoom = () => tamper(path, `DELETE FROM journal WHERE session = ${filler.loaded.key}`);
    return { path, store, makeRoom };
  }

  const large = 'x'.repeat(200_000);

  test('a write without room is refused, nothing of its batch is written, and reads go on', async (t) => {
    const { store } = await fullStore(t);
    const a = await Activation.of(store, 'a');
    await a.commit(a.append('small'));
    const batch: WriteOp[] = [
      { kind: 'accept', sessionId: 'b', runId: 'r1', input: entry('in'), at: AT },
      { kind: 'update', sessionId: 'b', fields: { name: 'half' }, at: AT },
      a.append('small too'),
      a.append(large),
    ];
    await assert.rejects(store.commit(batch), { code: 'STORE_FULL' });
    assert.deepEqual(seqs(await store.entries(a.loaded.key, 1, 10)), [1]);
    assert.equal(await store.run('b', 'r1'), null);
    assert.equal((await store.record('b'))!.name, null);
    assert.equal(recordPage(await store.page({})).records.length, 3);
  });

  test('what was refused for want of room is taken, number for number, when there is room', async (t) => {
    const { store, makeRoom } = await fullStore(t);
    const a = await Activation.of(store, 'a');
    await a.commit(a.append('small'));
    const batch = [a.append('small too'), a.append(large), a.append('last')];
    await assert.rejects(store.commit(batch), { code: 'STORE_FULL' });
    await assert.rejects(store.commit(batch), { code: 'STORE_FULL' });
    makeRoom();
    const results = await a.commit(...batch);
    assert.deepEqual(
      results.map((result) => result.entry!.seq),
      [2, 3, 4],
    );
    assert.equal(decodeEntry((await store.entries(a.loaded.key, 3, 1))[0]!.body).content, large);
  });

  test('a batch that failed fenced nobody off: not by an activation, an ended run, a release or a deletion', async (t) => {
    const { store, makeRoom } = await fullStore(t);
    const a = await Activation.of(store, 'a');
    const b = await Activation.of(store, 'b');
    await accept(store, 'b', 'r1');
    await b.commit(b.start('r1'));
    const fencing: WriteOp[] = [
      { kind: 'load', sessionId: 'b' },
      endRun('b', 'r1'),
      { kind: 'release', sessionId: 'b', epoch: null },
      { kind: 'remove', sessionId: 'b', at: AT },
    ];
    const huge = a.append(large);
    for (const op of [...fencing]) {
      await assert.rejects(store.commit([op, huge]), { code: 'STORE_FULL' }, op.kind);
      const [written] = await b.commit(b.append(`after ${op.kind}`));
      assert.equal(written!.head!.epoch, b.loaded.epoch, op.kind);
    }
    await assert.rejects(store.commit([...fencing, huge]), { code: 'STORE_FULL' });
    await b.commit(b.append('after all of them'));
    makeRoom();
    await a.commit(huge);
    await b.commit(b.end('r1'));
    const loaded = await load(store, 'b');
    assert.equal(loaded.epoch, b.loaded.epoch + 1);
    assert.deepEqual(seqs(loaded.tail), [1, 2, 3, 4, 5, 6, 7]);
  });

  test('opened with more room, the file holds all that was acknowledged and takes more', async (t) => {
    const { path, store } = await fullStore(t);
    const a = await Activation.of(store, 'a');
    await a.commit(a.append('acknowledged'));
    await assert.rejects(store.commit([a.append(large)]), { code: 'STORE_FULL' });
    await store.close();
    const roomy = openAt(t, path, 10_000);
    const again = await Activation.of(roomy, 'a');
    assert.deepEqual(
      again.loaded.tail.map((row) => decodeEntry(row.body).content),
      ['acknowledged'],
    );
    const [written] = await again.commit(again.append(large));
    assert.equal(written!.entry!.seq, 2);
  });
});
