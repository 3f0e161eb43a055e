// The shared memory of a link: whatever goes through it, around it, or finds no room in it arrives once and in order,
// and what a thread has written is there when the thread is not.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MessageChannel, Worker } from 'node:worker_threads';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { encodeState } from '../../src/protocol/codec.js';
import { CabanaError } from '../../src/protocol/errors.js';
import { RingReader, RingWriter, newJournalRing } from '../../src/protocol/journal-ring.js';
import { JOURNAL_RING_BYTES, JOURNAL_RING_ENTRY_MAX_BYTES } from '../../src/protocol/limits.js';
import type { History } from '../../src/worker/history.js';
import { until } from '../support/host.js';
import { seedOf } from '../support/random.js';
import { linked } from './linked.js';
import { AT } from './records.js';
import type { RingWriterData } from './ring-writer.js';

const WRITER = fileURLToPath(new URL('./ring-writer.js', import.meta.url));

async function contents(history: History): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { i } of history.entries()) found.push(i);
  return found;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test('a burst that the ring has no room for arrives whole and in order', async (t) => {
  const { activate, link } = await linked(t);
  const history = await activate();
  const content = 'x'.repeat(1000);
  const count = Math.ceil((3 * JOURNAL_RING_BYTES) / 1000);
  // Nobody reads meanwhile: both ends are in this thread.
  for (let i = 0; i < count; i++) history.append({ i, content });
  await history.durable();
  assert.deepEqual(await contents(history), upTo(count));
  assert.equal(link.backlogBytes, 0);
});

test('entries that are too large for the ring keep their place among the others', async (t) => {
  const { activate } = await linked(t);
  const history = await activate();
  const large = 'x'.repeat(JOURNAL_RING_ENTRY_MAX_BYTES + 1);
  for (let i = 0; i < 100; i++) history.append({ i, content: i % 3 === 1 ? large : 'small' });
  assert.deepEqual(await contents(history), upTo(100));
});

test('whatever is appended, saved and read, in whichever order, arrives in that order', async (t) => {
  const seed = seedOf(t);
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant('append' as const), bytes: fc.integer({ min: 0, max: 20_000 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('append' as const), bytes: fc.constant(JOURNAL_RING_ENTRY_MAX_BYTES) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('save' as const, 'read' as const, 'rename' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('drain' as const, 'turn' as const, 'durable' as const) }) },
  );
  const { activate, link, links, path } = await linked(t);
  const history = await activate();
  let i = 0;
  const property = fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 200 }), async (steps) => {
    const answers: Promise<unknown>[] = [];
    let saved: number | null = null;
    for (const s of steps) {
      if (s.do === 'append') history.append({ i: i++, content: 'x'.repeat(s.bytes) });
      else if (s.do === 'save') {
        answers.push(link.save({ at: AT, body: encodeState(i), stats: null, ...history.fence() }));
        saved = i;
      } else if (s.do === 'rename')
        link.send({ kind: 'rename', at: AT, name: `n${i}`, calledAt: AT, ...history.fence() });
      else if (s.do === 'read') {
        const from = Math.max(1, i - 3);
        const appended = i;
        answers.push(
          link.read(history.key, from, 10).then((rows) => {
            // All that was appended before, whatever was appended after.
            assert.ok(rows.length >= appended + 1 - from, `${rows.length} entries from ${from} on, of ${appended}`);
          }),
        );
      } else if (s.do === 'drain') links.collect();
      else if (s.do === 'turn') await new Promise((resolve) => setImmediate(resolve));
      else await history.durable();
    }
    await Promise.all(answers);
    // Answered behind everything before it.
    await link.read(history.key, 1, 1);
    assert.equal(link.backlogBytes, 0);
    assert.deepEqual([history.length, history.durableSeq], [i, i]);
    if (saved === null) return;
    // What came after the snapshot, and nothing else, is what a restore would add to it.
    const db = new Sqlite(path, { readonly: true });
    const { seq } = db.prepare<[], { seq: number }>('SELECT seq FROM snapshots').get()!;
    db.close();
    assert.equal(seq, saved);
  });
  await fc.assert(property, { seed, numRuns: 60 });
  assert.deepEqual(await contents(history), upTo(i));
  assert.ok(i * 10_000 > 10 * JOURNAL_RING_BYTES, 'the ring went round');
});

test('a thread that was held up between its entry and the wake-up loses no later one', async (t) => {
  const { table, links, activate } = await linked(t);
  const { key, epoch } = await activate();
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const ring = newJournalRing();
  links.attach(1, port2, ring);
  const writer = new RingWriter(ring);
  const append = (n: number) => writer.write({ kind: 'append', at: AT, key, epoch, n, body: new Uint8Array([1]) });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  append(1);
  // The store finds it by itself, commits it, and goes to sleep. Only then does the thread look whether to wake it.
  links.collect();
  await until('the first entry is on disk', () => table.durable(0).appends === 1);
  await turn();
  assert.ok(writer.takeSleep());
  port1.postMessage(null);
  await turn();
  await turn();
  append(2);
  assert.ok(writer.takeSleep(), 'the store has to be woken for the next one');
  port1.postMessage(null);
  await until('the second entry is on disk', () => table.durable(0).appends === 2);
});

test('when the storage has failed, what is appended is refused at once, and its thread is not held up', async (t) => {
  const fatal: string[] = [];
  const { activate, gate, link } = await linked(t, ({ code }) => fatal.push(code));
  const history = await activate();
  gate.closed = Promise.reject(new CabanaError('STORE_IO', 'the disk is gone'));
  gate.closed.catch(() => undefined);
  history.append({ i: 0 });
  await assert.rejects(history.durable(), { code: 'STORE_IO' });
  assert.deepEqual(fatal, ['STORE_IO']);
  // Another thread's activation would not know of it: what it appends must wake the store all the same.
  link.append({ kind: 'append', at: AT, key: history.key, epoch: history.epoch, n: 2, body: new Uint8Array([1]) });
  await until('the backlog is empty', () => link.backlogBytes === 0);
});

test('positions go on where they wrap at 2^32', () => {
  const shared = newJournalRing();
  const [writer, reader] = [new RingWriter(shared), new RingReader(shared)];
  const body = new Uint8Array(JOURNAL_RING_ENTRY_MAX_BYTES);
  // More than 2^32 bytes in all: what is behind it is as before.
  const count = Math.ceil(2 ** 32 / body.byteLength) + 100;
  for (let n = 1; n <= count; n++) {
    assert.ok(writer.write({ kind: 'append', at: AT, key: 1, epoch: 2, n, body }), `${n} has room`);
    if (n % 8 !== 0 && n !== count) continue;
    while (reader.position !== reader.written) {
      const read = reader.read();
      if (reader.position === reader.written) assert.deepEqual([read.key, read.epoch, read.n], [1, 2, n]);
    }
    assert.equal(reader.position, writer.position);
  }
});

test('what a thread appended is on disk when it was terminated in a loop that never yields', async (t) => {
  const { sqlite, links, activate } = await linked(t);
  const history = await activate();
  const { port1, port2 } = new MessageChannel();
  const ring = newJournalRing();
  links.attach(1, port2, ring);
  const appended = new Int32Array(new SharedArrayBuffer(4));
  const workerData: RingWriterData = { port: port1, ring, appended, key: history.key, epoch: history.epoch };
  const worker = new Worker(WRITER, { workerData, transferList: [port1] });
  await once(worker, 'online');
  while (Atomics.load(appended, 0) < 8_000) await new Promise((resolve) => setImmediate(resolve));
  await worker.terminate();
  const known = Atomics.load(appended, 0);
  await links.detach(1);
  const found: number[] = [];
  // A page is bounded by bytes: there may be more than one has.
  for (;;) {
    const rows = await sqlite.entries(history.key, found.length + 1, 1_000_000);
    if (rows.length === 0) break;
    found.push(...rows.map((row) => row.seq));
  }
  assert.ok(found.length >= known, `${found.length} of ${known} entries are on disk`);
  assert.deepEqual(
    found,
    upTo(found.length).map((i) => i + 1),
  );
});
