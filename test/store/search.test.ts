// The search index of the SQLite store by itself: hardly any newest rows are looked over first, so that it has to answer.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { recordPage } from '../../src/protocol/record-page.js';
import { emptyStats, type SessionRecord } from '../../src/protocol/session.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import type { WriteOp } from '../../src/worker/store/store.js';
import { seedOf } from '../support/random.js';
import { tempDir } from '../support/temp.js';
import { listContract } from './contract-list.js';
import { modelPage } from './list-model.js';
import { Activation, accept, AT, create, endRun, record, write } from './records.js';

const newPath = (t: TestContext): string => join(tempDir(t), 'cabana.db');

function openIndexed(t: TestContext, path = newPath(t), onListChange?: () => void): SqliteStore {
  const store = new SqliteStore(path, { scanRows: 1, ...(onListChange ? { onListChange } : {}) });
  t.after(() => store.close());
  return store;
}

const ids = async (store: SqliteStore, q: string): Promise<string[]> =>
  recordPage(await store.page({ q })).records.map((found) => found.sessionId);

describe('SqliteStore, searching by its index: lists and search', () => listContract(async (t) => openIndexed(t)));

/** Sessions by id, as creations, renames, pins and deletions in any order leave them. */
class Model {
  readonly sessions = new Map<string, SessionRecord>();

  apply(op: WriteOp): void {
    if (op.kind === 'create') this.sessions.set(op.record.sessionId, op.record);
    if (op.kind === 'remove') this.sessions.delete(op.sessionId);
    const known = op.kind === 'update' && this.sessions.get(op.sessionId);
    if (known) this.sessions.set(known.sessionId, { ...known, ...op.fields });
  }
}

// Few letters and runs of one, so that matches are many and near misses more; few instants, mostly within one minute.
const letters = (unit: string, minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...unit), minLength, maxLength });
const name = fc.oneof(letters('ab', 1, 12), letters('0001', 3, 12), letters('aA0 %é日😀ßİ', 1, 7));
const needle = fc.oneof(letters('ab', 1, 6), letters('0001', 1, 9), letters('aA0 %é日😀ßİ', 1, 4));
const instant = fc
  .tuple(fc.constantFrom(AT, AT, AT + 86_400_000, AT + 86_460_000, Date.parse('1931-05-05')), fc.nat(7))
  .map(([ms, i]) => new Date(ms + i * 10_000).toISOString());
const kind = fc.constantFrom(
  { source: 'manual' },
  { source: 'Cron' },
  { source: 'cron' },
  { source: 'x', agentProfile: 'coding' },
);
const idOf = (i: number): string => `s${i}000${i % 3}`;
const created = fc
  .record({ name: fc.option(name), createdAt: instant, kind, pinned: fc.boolean() })
  .map(({ kind: of, ...fields }) => ({ kind: 'create' as const, fields: { ...fields, ...of } }));
const changed = fc.oneof(
  fc.record({ kind: fc.constant('name' as const), i: fc.nat(40), name: fc.option(name) }),
  fc.record({ kind: fc.constant('pinned' as const), i: fc.nat(40), pinned: fc.boolean() }),
  fc.record({ kind: fc.constant('remove' as const), i: fc.nat(40) }),
);
const query = fc.record(
  {
    q: needle,
    limit: fc.integer({ min: 1, max: 4 }),
    before: fc.oneof(
      instant,
      fc.tuple(instant, fc.nat(40)).map(([at, i]) => `${at},${idOf(i)}`),
    ),
    date: fc.constantFrom('2026', '2026-01', '2026-01-01', '2026-01-02', '1931-05', '2026-13', '2026-02-31'),
    type: fc.constantFrom('manual', 'cron', 'Cron', 'coding', 'x'),
    includePinned: fc.boolean(),
  },
  { requiredKeys: ['q'] },
);

function toOp(step: typeof created extends fc.Arbitrary<infer C> ? C : never, i: number): WriteOp {
  return { kind: 'create', record: record(idOf(i), step.fields) };
}

test('after any creations, renames, pins and deletions a search finds what a naive list does, and changes are told', async (t) => {
  const seed = seedOf(t);
  const property = fc.asyncProperty(
    fc.array(created, { minLength: 15, maxLength: 40 }),
    fc.array(changed, { maxLength: 10 }),
    fc.array(query, { minLength: 10, maxLength: 40 }),
    async (creations, changes, queries) => {
      let told = 0;
      const store = openIndexed(t, newPath(t), () => told++);
      const model = new Model();
      const first = creations.map(toOp);
      await store.commit(first);
      for (const op of first) model.apply(op);
      const ops = changes.map((change): WriteOp => {
        const sessionId = idOf(change.i);
        if (change.kind === 'remove') return { kind: 'remove', sessionId, at: AT };
        const fields = change.kind === 'name' ? { name: change.name } : { pinned: change.pinned };
        return { kind: 'update', sessionId, fields, at: AT };
      });
      for (const op of ops) {
        const before = { page: recordPage(await store.page({})), told };
        await write(store, op);
        model.apply(op);
        if (told === before.told)
          assert.deepEqual(recordPage(await store.page({})), before.page, `${op.kind} was not told of`);
      }
      for (const asked of queries) {
        const { records, hasMore, nextBefore } = recordPage(await store.page(asked));
        const found = { ids: records.map((r) => r.sessionId), hasMore, nextBefore };
        assert.deepEqual(found, modelPage([...model.sessions.values()], asked), JSON.stringify(asked));
      }
    },
  );
  await fc.assert(property, { seed, numRuns: 40 });
});

test('whatever changes a row of the list is told before the commit is over', async (t) => {
  let told = 0;
  const store = openIndexed(t, newPath(t), () => told++);
  const session = { sessionId: 'a', at: AT + 1000 };
  await create(store, record('a'), record('erased'));
  const a = await Activation.of(store, 'a');
  for (const runId of ['r1', 'r2']) await accept(store, 'a', runId);
  const steps: [() => WriteOp, boolean][] = [
    [() => a.append(1), false],
    [() => a.start('r1'), false],
    [() => a.end('r1', null, { totalTasks: 1 }), true],
    [() => a.save('state'), false],
    [() => a.save('state', { ...emptyStats(), totalTasks: 2 }), true],
    [() => ({ kind: 'rename', at: AT + 7, name: 'renamed', calledAt: AT, ...a.fence }), true],
    [() => endRun('a', 'r2'), true],
    [() => ({ kind: 'update', ...session, fields: { name: 'edited' } }), true],
    [() => ({ kind: 'update', ...session, fields: { pinned: true } }), true],
    [() => ({ kind: 'update', ...session, fields: { quarantine: 'it crashed' } }), true],
    [() => ({ kind: 'load', sessionId: 'a' }), false],
    [() => ({ kind: 'release', sessionId: 'a', epoch: null }), false],
    [() => ({ kind: 'remove', ...session }), true],
    [() => ({ kind: 'remove', at: AT, sessionId: 'erased', erase: true }), true],
  ];
  for (const [step, changes] of steps) {
    const before = { page: recordPage(await store.page({})), told };
    const op = step();
    const [result] = await store.commit([op]);
    assert.ok('ok' in result!, `${op.kind} is taken`);
    assert.equal(
      JSON.stringify(recordPage(await store.page({}))) !== JSON.stringify(before.page),
      changes,
      `${op.kind} changes a row`,
    );
    assert.equal(told > before.told, changes, `${op.kind} is told`);
  }
});

test('sessions of one minute are found in the order of their creation, however they were numbered', async (t) => {
  const store = openIndexed(t);
  const seconds = [50, 10, 40, 20, 30];
  await create(
    store,
    ...seconds.map((s) => record(`s${s}`, { name: 'pearl', createdAt: new Date(AT + s * 1000).toISOString() })),
  );
  const { records, nextBefore } = recordPage(await store.page({ q: 'pearl', limit: 1 }));
  assert.equal(records[0]!.sessionId, 's50');
  const next = recordPage(await store.page({ q: 'pearl', limit: 2, before: nextBefore! }));
  assert.deepEqual(
    next.records.map((found) => found.sessionId),
    ['s40', 's30'],
  );
});

test('a folder of schema version 1 is searched like a new one', async (t) => {
  const path = newPath(t);
  const first = new SqliteStore(path);
  // Not in the order of their creation.
  const later = new Date(AT + 3_600_000).toISOString();
  await create(first, record('b', { name: 'zebra', createdAt: later }), record('a', { name: 'Zoo' }), record('gone'));
  await write(first, { kind: 'remove', sessionId: 'gone', at: AT });
  await first.close();
  const db = new Sqlite(path);
  db.exec(`DROP TABLE sessions_search;
    CREATE VIRTUAL TABLE sessions_fts USING fts5 (
      folded, content = '', contentless_delete = 1, columnsize = 1, detail = 'none', tokenize = 'trigram case_sensitive 1'
    );
    INSERT INTO sessions_fts (rowid, folded) SELECT key, folded FROM sessions WHERE deleted_at IS NULL;
    ALTER TABLE runs DROP COLUMN timeout_ms;
    ALTER TABLE runs DROP COLUMN priority;
    ALTER TABLE runs DROP COLUMN crc`);
  db.pragma('user_version = 1');
  db.close();
  const store = openIndexed(t, path);
  assert.deepEqual(
    [await ids(store, 'z'), await ids(store, 'ZO'), await ids(store, 'ebr')],
    [['b', 'a'], ['a'], ['b']],
  );
  assert.deepEqual(await ids(store, 'gone'), []);
  await write(store, { kind: 'update', sessionId: 'a', fields: { name: 'aquarium' }, at: AT });
  await create(store, record('c', { name: 'zoo again' }));
  assert.deepEqual([await ids(store, 'zo'), await ids(store, 'quar')], [['c'], ['a']]);
});

test('the index does not grow with sessions that came and went', async (t) => {
  const indexBytes = async (rounds: number): Promise<number> => {
    const path = newPath(t);
    const store = new SqliteStore(path);
    await create(store, record('first', { name: 'pearl' }));
    for (let round = 0; round < rounds; round++) {
      const names = Array.from({ length: 200 }, (_, i) => `r${round}-${i}`);
      await create(store, ...names.map((id) => record(id, { name: 'pearl' })));
      await store.commit(names.map((sessionId) => ({ kind: 'remove', sessionId, at: AT })));
    }
    assert.deepEqual(await ids(store, 'pearl'), ['first']);
    await store.close();
    const db = new Sqlite(path, { readonly: true });
    try {
      return db.prepare<[], number>('SELECT sum(length(block)) FROM sessions_search_data').pluck().get()!;
    } finally {
      db.close();
    }
  };
  const [young, aged] = [await indexBytes(0), await indexBytes(20)];
  assert.ok(aged < 2 * young, `${aged} bytes where many were, ${young} where they never were`);
});
