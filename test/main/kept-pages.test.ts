// Pages that main keeps while nothing of the list changes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Remote } from '../../src/protocol/calls.js';
import type { StoreCalls } from '../../src/protocol/control.js';
import { LIST_KEPT_MAX_ROWS } from '../../src/protocol/limits.js';
import type { ListedPage } from '../../src/protocol/record-page.js';
import { emptyStats, type ListQuery, type SessionRecord } from '../../src/protocol/session.js';
import { StatusTable } from '../../src/protocol/status-table.js';
import { KeptPages } from '../../src/main/registry/views/kept-pages.js';
import { listedPage } from '../support/listed-page.js';
import { launch } from './launch.js';

function recordOf(sessionId: string): SessionRecord {
  const at = '2026-01-01T00:00:00.000Z';
  const none = { name: null, source: null, agentProfile: null, workingDir: null, quarantine: null };
  return { sessionId, ...none, params: {}, pinned: false, createdAt: at, updatedAt: at, stats: emptyStats() };
}

/** A store that answers `rows` records, named by the number of the call. */
function fakeStore(rows = 1) {
  const asked: ListQuery[] = [];
  let failing = false;
  const page = async (query: ListQuery): Promise<ListedPage> => {
    asked.push(query);
    const records = Array.from({ length: rows }, () => recordOf(`call-${asked.length}`));
    await new Promise((resolve) => setImmediate(resolve));
    if (failing) throw new Error('the store failed');
    return listedPage(records);
  };
  const table = new StatusTable();
  const pages = new KeptPages({ page } as Partial<Remote<StoreCalls>> as Remote<StoreCalls>, table);
  const first = async (query: ListQuery): Promise<string | undefined> =>
    (await pages.page(query)).records[0]?.sessionId;
  return { asked, table, first, fail: (on: boolean) => (failing = on) };
}

test('a page is asked for once while nothing changes, and anew after a change', async () => {
  const { asked, table, first } = fakeStore();
  assert.deepEqual(
    [await first({}), await first({}), await first({ q: 'x' }), await first({})],
    ['call-1', 'call-1', 'call-2', 'call-1'],
  );
  table.listChanges();
  assert.deepEqual([await first({ q: 'x' }), await first({})], ['call-3', 'call-4']);
  assert.equal(asked.length, 4);
});

test('a page on its way is shared by who asks before the next change, and by nobody after it', async () => {
  const { table, first } = fakeStore();
  const before = [first({}), first({})];
  table.listChanges();
  const after = [first({}), first({})];
  assert.deepEqual(await Promise.all([...before, ...after]), ['call-1', 'call-1', 'call-2', 'call-2']);
  assert.equal(await first({}), 'call-2');
});

test('each filter makes a page of its own', async () => {
  const { asked, first } = fakeStore();
  const queries: ListQuery[] = [
    {},
    { limit: 5 },
    { before: '2026-01-01T00:00:00.000Z' },
    { q: 'cron' },
    { date: '2026' },
    { type: 'cron' },
    { includePinned: false },
  ];
  for (const query of [...queries, ...queries]) await first(query);
  assert.deepEqual(asked, queries);
});

test('a failure is told to those who wait for it, and not kept', async () => {
  const { first, fail } = fakeStore();
  fail(true);
  const failures = await Promise.allSettled([first({}), first({})]);
  assert.deepEqual(
    failures.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  fail(false);
  assert.equal(await first({}), 'call-2');
});

test('as many rows are kept as the limit says: the oldest pages go', async () => {
  const { asked, first } = fakeStore(1000);
  const pages = LIST_KEPT_MAX_ROWS / 1000;
  for (let i = 0; i <= pages; i++) await first({ q: `q${i}` });
  assert.equal(asked.length, pages + 1);
  await first({ q: `q${pages}` });
  await first({ q: 'q1' });
  assert.equal(asked.length, pages + 1);
  await first({ q: 'q0' });
  assert.equal(asked.length, pages + 2);
});

test('whoever has made a change sees it in the next list, whatever was kept', async (t) => {
  const host = await launch(t, { threads: 1 });
  const { registry } = host;
  const list = async (): Promise<unknown[]> =>
    (await registry.list()).rows.map((row) => [row.id, row.name, row.pinned, row.totalTasks, row.error]);
  const changes: [() => Promise<unknown>, unknown[]][] = [
    [() => registry.create({ sessionId: 'a', agentProfile: 'counter' }), [['a', null, false, 0, null]]],
    [() => registry.edit('a', { name: 'A' }), [['a', 'A', false, 0, null]]],
    [() => registry.edit('a', { pinned: true }), [['a', 'A', true, 0, null]]],
    [() => host.send('a', { throws: 'it broke' }).result, [['a', 'A', true, 1, 'it broke']]],
    [() => registry.withSession('a', () => undefined), [['a', 'A', true, 1, 'it broke']]],
    [() => host.send('a', { by: 1 }).result, [['a', 'A', true, 2, null]]],
    [() => registry.delete('a'), []],
  ];
  assert.deepEqual(await list(), []);
  for (const [change, expected] of changes) {
    await list();
    await change();
    assert.deepEqual([await list(), await list()], [expected, expected], change.toString());
  }
});

test('what a caller does to the rows of a list is not seen by the next one', async (t) => {
  const { registry } = await launch(t, { threads: 1 });
  await registry.create({ sessionId: 'a', agentProfile: 'counter', name: 'A' });
  const page = await registry.list();
  Object.assign(page.rows[0]!, { name: 'spoiled' });
  page.rows.length = 0;
  assert.deepEqual(
    (await registry.list()).rows.map((row) => row.name),
    ['A'],
  );
});
