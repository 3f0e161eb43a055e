// A thread's link to the store, both ends of it: what is acknowledged is on disk, and to whom.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { decodeState, encodeState } from '../../src/protocol/codec.js';
import { JOURNAL_CREDIT_BYTES, OP_OVERHEAD_BYTES, TAIL_PAGE_ROWS } from '../../src/protocol/limits.js';
import { storedEntry } from '../../src/worker/history.js';
import { linked } from './linked.js';
import { accept, AT, load, seqs } from './records.js';

/** Turns of the event loop: from an append to its acknowledgement, by way of both ports, takes fewer. */
const TURNS = 10;

/** Whether it is over once all that does not wait for a gate has happened. */
const settled = async (promise: Promise<unknown>): Promise<boolean> => {
  let done = false;
  void promise.then(() => (done = true));
  for (let i = 0; i < TURNS; i++) await nextTurn();
  return done;
};

test('durable() resolves when the entries are on disk and not before, and the table says so too', async (t) => {
  const { sqlite, activate, gate, table, link } = await linked(t);
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
  const { activate, gate, link } = await linked(t);
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
  const { sqlite, activate, link } = await linked(t);
  const first = await activate();
  first.append({ content: 'kept' });
  await first.durable();
  // Another activation took the session over, unknown to the first.
  await sqlite.commit([{ kind: 'load', sessionId: 'a' }]);
  first.append({ content: 'stale' });
  await assert.rejects(first.durable(), { code: 'STALE_EPOCH' });
  assert.throws(() => void first.append({ content: 'stale' }), { code: 'STALE_EPOCH' });
  assert.equal(link.backlogBytes, 0, 'what was refused is off the backlog');
  assert.deepEqual(seqs(await sqlite.entries(first.key, 1, 10)), [1]);
});

test('a page of the history sees everything that the thread appended before it asked', async (t) => {
  const { activate } = await linked(t);
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
  const { sqlite, activate, links } = await linked(t);
  const history = await activate();
  for (let i = 1; i <= 5; i++) history.append({ content: i });
  await links.detach(0);
  assert.deepEqual(seqs(await sqlite.entries(history.key, 1, 10)), [1, 2, 3, 4, 5]);
});

test('a tail longer than a page is whole and in order, but for the inputs of runs that have yet to start', async (t) => {
  const { sqlite, activate, link } = await linked(t);
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
  const { sqlite, activate, link, path } = await linked(t);
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
  const { sqlite, activate, link } = await linked(t);
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

test('however many wait to save, what is on its way is bounded, and they are let in as they came', async (t) => {
  const { activate, gate, link } = await linked(t);
  const history = await activate();
  let open!: () => void;
  gate.closed = new Promise((resolve) => (open = resolve));
  let most = 0;
  const posted: number[] = [];
  const saveOne = async (k: number): Promise<void> => {
    const room = link.room();
    if (room) await room;
    posted.push(k);
    const body = encodeState(new Uint8Array(1_000_000));
    const saved = link.save({ at: AT, body, stats: null, ...history.fence() });
    most = Math.max(most, link.backlogBytes);
    await saved;
  };
  const all = Array.from({ length: 64 }, (_, k) => saveOne(k));
  open();
  await Promise.all(all);
  assert.ok(most <= JOURNAL_CREDIT_BYTES + 1_000_100 + OP_OVERHEAD_BYTES, `${most} bytes were on their way`);
  assert.deepEqual(
    posted,
    all.map((_, k) => k),
  );
  assert.equal(link.backlogBytes, 0);
});

test('a load that makes the store look into its own link again changes nothing in the order of what is there', async (t) => {
  const { activate, link } = await linked(t);
  await activate('a');
  const b = await activate('b');
  // Of one message: the load first looks for what session a's thread, this one, has posted up to now.
  const again = activate('a');
  const saved = link.save({ at: AT, body: encodeState(1), stats: null, ...b.fence() });
  b.append({ content: 'after the snapshot' });
  link.send({ kind: 'rename', at: AT, name: 'after the entry', calledAt: AT, ...b.fence() });
  await Promise.all([again, saved, b.durable()]);
  assert.equal(b.durableSeq, 1);
  assert.equal((await link.read(b.key, 1, 10)).length, 1);
  assert.equal(link.backlogBytes, 0);
});
