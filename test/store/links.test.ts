// A thread's link to the store, both ends of it: what is acknowledged is on disk, and to whom.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import Sqlite from 'better-sqlite3';
import { decodeState, encodeState } from '../../src/protocol/codec.js';
import { newCreditCounter } from '../../src/protocol/journal.js';
import { TAIL_PAGE_ROWS } from '../../src/protocol/limits.js';
import { StatusTable } from '../../src/protocol/status-table.js';
import { History, storedEntry } from '../../src/worker/history.js';
import { JournalLink } from '../../src/worker/journal-link.js';
import { GroupCommitter } from '../../src/worker/store/committer.js';
import { Links } from '../../src/worker/store/links.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import type { Store } from '../../src/worker/store/store.js';
import { tempDir } from '../support/temp.js';
import { accept, AT, create, load, record, seqs } from './records.js';

async function setUp(t: TestContext) {
  const path = join(tempDir(t), 'cabana.db');
  const sqlite = new SqliteStore(path);
  await create(sqlite, record('a'));
  const table = new StatusTable();
  const generation = table.clearRow(0);
  const gate = { closed: Promise.resolve() };
  const store = new Proxy<Store>(sqlite, {
    get: (target, name: keyof Store) => {
      if (name !== 'commit') return (target[name] as () => unknown).bind(target);
      return async (ops: Parameters<Store['commit']>[0]) => {
        await gate.closed;
        return target.commit(ops);
      };
    },
  });
  const committer = new GroupCommitter(store, {
    onBatch: () => links.tellAll(),
    onFatal: (error) => assert.fail(error),
  });
  const links = new Links(store, committer, table, () => undefined);
  const { port1, port2 } = new MessageChannel();
  const credit = newCreditCounter();
  links.attach(0, port2, credit);
  const link = new JournalLink(port1, credit);
  t.after(async () => {
    port1.close();
    await committer.close();
    await sqlite.close();
  });
  const activate = async (): Promise<History> => {
    const loaded = (await link.load('a', { slot: 0, generation }, (row) => row))!;
    return new History(link, table, { key: loaded.key, epoch: loaded.epoch, slot: 0 }, () => AT);
  };
  return { sqlite, table, links, link, activate, gate, path };
}

const settled = async (promise: Promise<unknown>): Promise<boolean> => {
  let done = false;
  void promise.then(() => (done = true));
  for (let i = 0; i < 5; i++) await Promise.resolve();
  return done;
};

test('durable() resolves when the entries are on disk and not before, and the table says so too', async (t) => {
  const { sqlite, activate, gate, table, link } = await setUp(t);
  const history = await activate();
  let open!: () => void;
  gate.closed = new Promise((resolve) => (open = resolve));
  history.append({ content: 1 });
  history.append({ content: 2 });
  const durable = history.durable();
  assert.deepEqual([history.length, history.durableSeq, await settled(durable)], [2, 0, false]);
  assert.ok(link.backlogBytes > 0);
  open();
  await durable;
  assert.deepEqual(table.durable(0), { seq: 2, appends: 2 });
  assert.equal(link.backlogBytes, 0);
  assert.deepEqual(seqs(await sqlite.entries(history.key, 1, 10)), [1, 2]);
});

test('an activation is not told that its entries are durable when those of the one before it are', async (t) => {
  const { activate, gate, link } = await setUp(t);
  const first = await activate();
  for (let i = 0; i < 3; i++) first.append({ content: i });
  // The same thread takes the session up again while what it appended is on its way.
  const second = await activate();
  // Answered behind the acknowledgements of the first.
  await link.read(second.key, 1, 1);
  let open!: () => void;
  gate.closed = new Promise((resolve) => (open = resolve));
  second.append({ content: 'not on disk yet' });
  const durable = second.durable();
  assert.equal(await settled(durable), false, 'nothing of the second activation is on disk');
  open();
  await durable;
});

test('what a superseded activation appends is refused, and it is told so', async (t) => {
  const { sqlite, activate, link } = await setUp(t);
  const first = await activate();
  first.append({ content: 'kept' });
  await first.durable();
  // Another activation took the session over, unknown to the first.
  await sqlite.commit([{ t: 'load', sessionId: 'a' }]);
  first.append({ content: 'stale' });
  await assert.rejects(first.durable(), { code: 'STALE_EPOCH' });
  assert.throws(() => void first.append({ content: 'stale' }), { code: 'STALE_EPOCH' });
  assert.equal(link.backlogBytes, 0, 'what was refused is off the backlog');
  assert.deepEqual(seqs(await sqlite.entries(first.key, 1, 10)), [1]);
});

test('a page of the history sees everything that the thread appended before it asked', async (t) => {
  const { activate } = await setUp(t);
  const history = await activate();
  for (let i = 1; i <= 600; i++) history.append({ content: i });
  const contents: unknown[] = [];
  for await (const { content } of history.entries({ from: 5, limit: 590 })) contents.push(content);
  assert.deepEqual(
    contents,
    Array.from({ length: 590 }, (_, i) => i + 5),
  );
});

test('detaching a link keeps what its thread had posted', async (t) => {
  const { sqlite, activate, links } = await setUp(t);
  const history = await activate();
  for (let i = 1; i <= 5; i++) history.append({ content: i });
  await links.detach(0);
  assert.deepEqual(seqs(await sqlite.entries(history.key, 1, 10)), [1, 2, 3, 4, 5]);
});

test('a tail longer than a page is whole and in order, but for the inputs of runs that have yet to start', async (t) => {
  const { sqlite, activate, link } = await setUp(t);
  const history = await activate();
  const count = 5 * TAIL_PAGE_ROWS;
  for (let i = 1; i < count / 2; i++) history.append({ content: i });
  await history.durable();
  const { inputSeq } = await accept(sqlite, 'a', 'queued');
  for (let i = history.n + 1; i < count; i++) history.append({ content: i });
  await history.durable();
  const restored = (await link.load('a', { slot: 0, generation: 1 }, storedEntry))!;
  assert.ok(inputSeq > TAIL_PAGE_ROWS, 'the input is not of the first page');
  assert.equal(restored.seq, count);
  assert.deepEqual(
    restored.tail.map(({ seq, content }) => [seq, content]),
    Array.from({ length: count }, (_, i) => i + 1)
      .filter((seq) => seq !== inputSeq)
      .map((seq, i) => [seq, i + 1]),
  );
});

test('a damaged entry far down a long tail is the error of the load', async (t) => {
  const { sqlite, activate, link, path } = await setUp(t);
  const history = await activate();
  for (let i = 1; i <= 3 * TAIL_PAGE_ROWS; i++) history.append({ content: i });
  await history.durable();
  const db = new Sqlite(path);
  db.prepare(`UPDATE journal SET body = x'00' WHERE seq = ?`).run(2 * TAIL_PAGE_ROWS);
  db.close();
  await assert.rejects(link.load('a', { slot: 0, generation: 1 }, storedEntry), { code: 'STORE_CORRUPT' });
  assert.deepEqual(seqs(await sqlite.entries(history.key, 1, 1)), [1]);
});

test('what is saved and what is appended after it arrive in that order, though saves travel together', async (t) => {
  const { sqlite, activate, link } = await setUp(t);
  const history = await activate();
  const body = encodeState('x'.repeat(10_000));
  const saved = link.save({ at: AT, body, stats: null, ...history.fence() });
  history.append({ content: 1 });
  const savedAgain = link.save({ at: AT, body: encodeState(2), stats: null, ...history.fence() });
  await Promise.all([saved, history.durable(), savedAgain]);
  assert.equal(link.backlogBytes, 0);
  const { snapshot, tail } = await load(sqlite, 'a');
  assert.deepEqual([decodeState(snapshot!), tail], [2, []]);
});
