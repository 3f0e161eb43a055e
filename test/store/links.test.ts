// A thread's link to the store, both ends of it: what is acknowledged is on disk, and to whom.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { newCreditCounter } from '../../src/protocol/journal.js';
import { StatusTable } from '../../src/protocol/status-table.js';
import { History } from '../../src/worker/history.js';
import { JournalLink } from '../../src/worker/journal-link.js';
import { GroupCommitter } from '../../src/worker/store/committer.js';
import { Links } from '../../src/worker/store/links.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import type { Store } from '../../src/worker/store/store.js';
import { tempDir } from '../support/temp.js';
import { AT, create, record, seqs } from './records.js';

async function setUp(t: TestContext) {
  const sqlite = new SqliteStore(join(tempDir(t), 'cabana.db'));
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
  return { sqlite, table, links, link, activate, gate };
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
