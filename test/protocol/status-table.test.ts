// The status table: its layout, its growth, and what a reader sees while another thread writes.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { STAND_INS_MAX_THREADS, TABLE_INITIAL_ROWS, THREADS_MAX_THREADS } from '../../src/protocol/limits.js';
import { SESSION_STATES, stateFromNumber, stateNumber } from '../../src/protocol/session-state.js';
import { ROW_READ_WAIT_MAX_MS, StatusTable } from '../../src/protocol/status-table.js';
import {
  LABEL_MAX_BYTES,
  OFFER_WORD,
  ROW_BYTES,
  ROW_COLUMNS,
  THREAD_BYTES,
  THREAD_COLUMNS,
  type ThreadColumn,
  type ThreadColumnOf,
} from '../../src/protocol/table-columns.js';
import { rowOf, type WriterData } from './row-writer.js';

const WRITER = fileURLToPath(new URL('./row-writer.js', import.meta.url));

/** Reads after which a writer that wrote next to nothing meanwhile is a failure. */
const MAX_READS = 10_000_000;

type Column = { word: number; type: 'i32' | 'f64' };

function startWriter(t: TestContext, table: StatusTable, slot: number, what: WriterData['what']) {
  const stop = new Int32Array(new SharedArrayBuffer(8));
  const workerData: WriterData = { buffer: table.buffer, stop, slot, what };
  const worker = new Worker(WRITER, { workerData });
  t.after(() => worker.terminate());
  const end = async (): Promise<void> => {
    Atomics.store(stop, 0, 1);
    await once(worker, 'exit');
  };
  return { worker, stop, end };
}

/** Waits until the other thread writes, without polling by the clock. */
async function writing(stop: Int32Array): Promise<void> {
  while (Atomics.load(stop, 1) === 0) await new Promise((resolve) => setImmediate(resolve));
}

function wordsOf(columns: Record<string, Column>): Map<number, string> {
  const owners = new Map<number, string>();
  for (const [name, { word, type }] of Object.entries(columns)) {
    if (type === 'f64') assert.equal(word % 2, 0, `${name} is aligned to eight bytes`);
    for (let w = word; w < word + (type === 'f64' ? 2 : 1); w++) {
      assert.equal(owners.get(w), undefined, `word ${w} is of ${owners.get(w)} and of ${name}`);
      owners.set(w, name);
    }
  }
  return owners;
}

test('the columns of a row do not overlap, not even with the label and the durable word', () => {
  const owners = wordsOf(ROW_COLUMNS);
  // The label is 27 bytes from word 19 on (its last byte is in word 25), durableSeq and appends are words 30 and 31.
  for (let w = 19; w < 19 + Math.ceil(LABEL_MAX_BYTES / 4); w++) assert.equal(owners.get(w), undefined, `label: ${w}`);
  for (const w of [30, 31]) assert.equal(owners.get(w), undefined, `durable: ${w}`);
  for (const [w, name] of owners) assert.ok(w >= 0 && w < ROW_BYTES / 4, `${name} is within the row`);
  assert.equal(ROW_BYTES, 128);
});

test('the columns of a thread block do not overlap and fit in it', () => {
  for (const [w, name] of wordsOf(THREAD_COLUMNS)) assert.ok(w >= 0 && w < THREAD_BYTES / 4 && w !== OFFER_WORD, name);
});

test('a full label, the durable word and every column hold their values beside each other and beside other rows', () => {
  const table = new StatusTable();
  for (const slot of [6, 7, 8]) table.clearRow(slot);
  const before = [6, 8].map((slot) => [table.readStats(slot), table.durable(slot), table.get(slot, 'generation')]);
  const label = 'l'.repeat(LABEL_MAX_BYTES);
  table.setDurable(7, 0xfffffff0, 123456);
  table.writeStats(7, { ...rowOf(41), label });
  const words = ['state', 'runNo', 'interruptRunNo', 'interruptReason', 'watchers'] as const;
  words.forEach((column, i) => table.set('main', 7, column, -100 - i));
  table.set('thread', 7, 'historySeq', 77);
  table.set('thread', 7, 'begunNo', 78);

  words.forEach((column, i) => assert.equal(table.get(7, column), -100 - i, column));
  assert.equal(table.get(7, 'historySeq'), 77);
  assert.equal(table.get(7, 'begunNo'), 78);
  assert.deepEqual(table.readStats(7), { ...rowOf(41), label });
  assert.deepEqual(table.durable(7), { seq: 0xfffffff0, appends: 123456 });
  assert.deepEqual(
    [6, 8].map((slot) => [table.readStats(slot), table.durable(slot), table.get(slot, 'generation')]),
    before,
  );
});

test('a label is cut at a whole character', () => {
  const table = new StatusTable();
  table.clearRow(0);
  table.writeStats(0, { ...rowOf(1), label: '😀'.repeat(20) });
  assert.equal(table.readStats(0).label, '😀'.repeat(6));
  table.writeStats(0, { ...rowOf(1), label: '' });
  assert.equal(table.readStats(0).label, '');
});

test('a cleared row tells nothing of the session before, and its generation is new', () => {
  const table = new StatusTable();
  const first = table.clearRow(3);
  table.writeStats(3, rowOf(9));
  table.setDurable(3, 9, 9);
  table.set('main', 3, 'interruptRunNo', 9);
  assert.equal(table.clearRow(3), first + 1);
  assert.equal(table.get(3, 'generation'), first + 1);
  assert.equal(table.get(3, 'interruptRunNo'), 0);
  assert.equal(table.get(3, 'begunNo'), 0);
  assert.deepEqual(table.durable(3), { seq: 0, appends: 0 });
  const { latestLatencyMs, progress, label, totalTasks } = table.readStats(3);
  assert.deepEqual(
    { latestLatencyMs, progress, label, totalTasks },
    {
      latestLatencyMs: null,
      progress: null,
      label: '',
      totalTasks: 0,
    },
  );
});

const columnsOf = <W extends 'main' | 'thread'>(writer: W): ThreadColumnOf<W>[] =>
  (Object.keys(THREAD_COLUMNS) as ThreadColumn[]).filter(
    (column): column is ThreadColumnOf<W> => THREAD_COLUMNS[column].writer === writer,
  );

test('the next thread of a number finds nothing of the one before, and goes on with what main counts', () => {
  const table = new StatusTable();
  const fresh = new StatusTable();
  fresh.clearThread(3);
  for (const column of columnsOf('thread')) table.setThread(3, column, 7);
  table.offer(3, 7);
  for (const column of columnsOf('main')) for (let n = 0; n < 2; n++) table.countThread(3, column);
  table.clearThread(3);
  for (const column of columnsOf('thread'))
    assert.equal(table.getThread(3, column), fresh.getThread(3, column), column);
  assert.equal(table.takeAnyOffer(3), 0);
  for (const column of columnsOf('main')) assert.equal(table.getThread(3, column), 2, column);
});

test('the last thread block and the first row do not touch', () => {
  const table = new StatusTable();
  // Behind the configured threads come their stand-ins.
  const last = THREADS_MAX_THREADS + STAND_INS_MAX_THREADS - 1;
  for (const column of columnsOf('thread')) table.setThread(last, column, -1);
  for (const column of columnsOf('main')) table.countThread(last, column);
  assert.equal(table.get(0, 'generation'), 0);
  assert.equal(table.clearRow(0), 1);
  // Nor does the block lie in any row further on, as it would if stand-ins were not reckoned with.
  for (let slot = 1; slot < TABLE_INITIAL_ROWS; slot++) assert.equal(table.clearRow(slot), 1);
  assert.equal(table.getThread(last, 'elu'), -1);
  assert.equal(table.getThread(last - 1, 'elu'), 0);
});

test('a thread that has the table sees it grow, and what is written in the new rows', async (t) => {
  const table = new StatusTable();
  assert.equal(table.capacityRows, TABLE_INITIAL_ROWS);
  const { worker } = startWriter(t, table, 0, 'capacity');
  await once(worker, 'message');
  const old = table.buffer;
  table.setDurable(5, 55, 5);
  assert.ok(table.grow());
  assert.equal(table.buffer, old, 'in place');
  assert.deepEqual(table.durable(5), { seq: 55, appends: 5 });
  table.setDurable(TABLE_INITIAL_ROWS * 2 - 1, 42, 7);
  worker.postMessage('look');
  assert.deepEqual(await once(worker, 'message'), [{ rows: TABLE_INITIAL_ROWS * 2, durable: { seq: 42, appends: 7 } }]);
});

test('a row read while another thread writes it without a pause is never a mixture of two', async (t) => {
  const table = new StatusTable();
  table.clearRow(2);
  const { stop, end } = startWriter(t, table, 2, 'hammer');
  await writing(stop);
  const torn: unknown[] = [];
  const seen = new Set<number>();
  for (let i = 0; i < 20_000 || (seen.size < 100 && i < MAX_READS); i++) {
    const began = performance.now();
    const stats = table.readStats(2);
    // The machine took the writer's core away in the middle of a row, for longer than anybody waits for it.
    if (performance.now() - began >= ROW_READ_WAIT_MAX_MS) continue;
    seen.add(stats.totalTasks);
    const whole = rowOf(stats.totalTasks);
    if (Object.keys(whole).some((key) => stats[key as keyof typeof stats] !== whole[key as keyof typeof whole])) {
      torn.push(stats);
    }
  }
  await end();
  assert.ok(seen.size >= 100, `the writer wrote meanwhile: ${seen.size} rows seen`);
  assert.deepEqual(torn.slice(0, 1), [], `${torn.length} rows were torn`);
});

test('a row whose writer died in the middle of writing it is read within a bound', async (t) => {
  const table = new StatusTable();
  table.clearRow(2);
  const { worker } = startWriter(t, table, 2, 'die');
  await once(worker, 'exit');
  assert.equal(table.get(2, 'lock') % 2, 1, 'the lock was left odd');
  const began = performance.now();
  assert.equal(table.readStats(2).totalTasks, 5);
  assert.ok(performance.now() - began < 10_000);
});

test('the durable seq and the count of appends are always of the same moment', async (t) => {
  const table = new StatusTable();
  table.clearRow(2);
  const { stop, end } = startWriter(t, table, 2, 'pairs');
  await writing(stop);
  const seen = new Set<number>();
  let apart = 0;
  for (let i = 0; i < 100_000 || (seen.size < 100 && i < MAX_READS); i++) {
    const { seq, appends } = table.durable(2);
    if (seq !== appends) apart++;
    seen.add(seq);
  }
  await end();
  assert.ok(seen.size >= 100, `the writer wrote meanwhile: ${seen.size} pairs seen`);
  assert.equal(apart, 0);
});

test('counts follow every move, each status and state on its own', () => {
  const table = new StatusTable();
  table.count(null, { state: 'idle', status: 'idle' });
  table.count(null, { state: 'idle', status: 'error' });
  table.count({ state: 'idle', status: 'idle' }, { state: 'running', status: 'running' });
  const counts = () => [
    ...(['idle', 'running', 'error'] as const).map((status) => table.countByStatus(status)),
    ...SESSION_STATES.map((state) => table.countByState(state)),
  ];
  assert.deepEqual(counts(), [0, 1, 1, 0, 0, 1, 1, 0, 0, 0]);
  table.count({ state: 'running', status: 'running' }, null);
  table.count({ state: 'idle', status: 'error' }, { state: 'failed', status: 'error' });
  assert.deepEqual(counts(), [0, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual(new StatusTable(table.buffer).countByStatus('error'), 1);
});

test('the numbers of the states are their own inverse, and others are refused', () => {
  for (const state of SESSION_STATES) assert.equal(stateFromNumber(stateNumber(state)), state);
  assert.throws(() => stateFromNumber(SESSION_STATES.length), RangeError);
  assert.throws(() => stateFromNumber(-1), RangeError);
});
