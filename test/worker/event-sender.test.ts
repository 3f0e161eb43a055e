// What leaves a thread, when, and what is told when there is no room for it. The other end of the port is read by hand.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { newNoteCounter, type WeighedNote } from '../../src/protocol/control.js';
import { BatchEndpoint } from '../../src/protocol/endpoint.js';
import { unpackEvents } from '../../src/protocol/event-batch.js';
import { EVENT_WAIT_MAX_MS, EVENT_BURST_FREE_POSTS, NOTE_OVERHEAD_BYTES } from '../../src/protocol/limits.js';
import { EventSender } from '../../src/worker/event-sender.js';
import { NoteWindow } from '../../src/worker/note-window.js';

function sender(t: TestContext, windowBytes: number) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const counter = newNoteCounter();
  const events = new EventSender(new BatchEndpoint(port1), new NoteWindow(counter, windowBytes));
  let deliver: (message: unknown) => void = () => undefined;
  const far = new BatchEndpoint({
    on: (_event, listener) => (deliver = listener),
    postMessage: () => undefined,
    close: () => undefined,
  });
  const notes: WeighedNote[] = [];
  far.onNote((note) => notes.push(note as WeighedNote));
  return {
    events,
    /** What has been posted since the last time; `dealtWith`: and the thread is told so. */
    heard: (dealtWith = false): unknown[] => {
      for (let got = receiveMessageOnPort(port2); got; got = receiveMessageOnPort(port2)) deliver(got.message);
      const heard = notes.splice(0);
      if (dealtWith) for (const { weight } of heard) Atomics.add(new Int32Array(counter), 0, weight);
      return heard.flatMap((note) => {
        if (note.kind === 'events') return unpackEvents(note.events);
        const { weight: _weight, sessionId: _sessionId, ...rest } = note;
        return [rest];
      });
    },
  };
}

const gap = (missed: number, runId: string | null = 'r') => ({ kind: 'gap', runId, missed });

test('the first few events leave in the turn in which they are emitted; the rest of a burst when it turns', async (t) => {
  const { events, heard } = sender(t, 1 << 20);
  for (let i = 0; i < EVENT_BURST_FREE_POSTS; i++) {
    events.event('s', 'r', i);
    assert.deepEqual(heard(), [i]);
  }
  events.event('s', 'r', 'one more');
  events.event('t', null, 'of another session');
  // The window in which a burst is told from a few may have passed by then: at the latest now.
  await pause(1);
  assert.deepEqual(heard(), ['one more', 'of another session']);
});

test('an event for which there is no room waits a while, the ones after it do not; what is missing is told first', (t) => {
  const { events, heard } = sender(t, 3 * NOTE_OVERHEAD_BYTES);
  for (let i = 0; i < 3; i++) events.event('s', 'r', i);
  const startedAt = performance.now();
  events.event('s', 'r', 3);
  assert.ok(performance.now() - startedAt >= EVENT_WAIT_MAX_MS - 1);
  for (let i = 4; i < 1_000; i++) events.event('s', 'r', i);
  assert.ok(performance.now() - startedAt < 100 * EVENT_WAIT_MAX_MS, 'they did not wait, each of them');
  assert.throws(() => events.event('s', 'r', Symbol('none')), { code: 'VALUE_NOT_ENCODABLE' });
  assert.deepEqual(heard(true), [0, 1, 2]);
  events.event('s', 'r', 1_000);
  events.flush();
  assert.deepEqual(heard(), [gap(997), 1_000]);
});

test('the end of a run tells what is missing of it, though there is no room', (t) => {
  const { events, heard } = sender(t, NOTE_OVERHEAD_BYTES);
  events.event('s', 'r', 0);
  for (let i = 0; i < 5; i++) events.event('s', 'r', i);
  for (let i = 0; i < 2; i++) events.event('s', null, i);
  events.event('t', 'q', 0);
  assert.deepEqual(heard(), [0]);
  events.settle('s');
  assert.deepEqual(heard(), [gap(5), gap(2, null)]);
  events.settle('s');
  assert.deepEqual(heard(), []);
  events.settleAll();
  assert.deepEqual(heard(), [gap(1, 'q')]);
});

test('what a superseded activation says is not told beside what its successor says', (t) => {
  const { events, heard } = sender(t, NOTE_OVERHEAD_BYTES);
  events.event('s', 'r', 0);
  events.report('s', 1, { model: 'old' });
  events.rename('s', 2, { name: 'new', calledAt: 2 });
  events.rename('s', 1, { name: 'old', calledAt: 1 });
  heard();
  events.settle('s');
  assert.deepEqual(heard(), [{ kind: 'rename', epoch: 2, name: 'new', calledAt: 2 }]);
});

test('figures and names that wait for room are merged, lines are counted; all is told when there is room', async (t) => {
  const { events, heard } = sender(t, NOTE_OVERHEAD_BYTES);
  const line = { level: 'info', message: 'a line', fields: null } as const;
  events.log('s', line, 6);
  for (let i = 1; i <= 3; i++) {
    events.report('s', 1, { totalCostUsd: i, ...(i === 2 ? { model: 'two' } : {}) });
    events.rename('s', 1, { name: `name ${i}`, calledAt: i });
    events.log('s', line, 6);
  }
  assert.deepEqual(heard(), [{ kind: 'log', ...line }]);
  const dealt = sender(t, NOTE_OVERHEAD_BYTES);
  dealt.events.log('s', line, 6);
  dealt.events.rename('s', 1, { name: 'later', calledAt: 4 });
  dealt.heard(true);
  // Nothing more is said by the session: it is told by itself.
  await pause(50);
  assert.deepEqual(dealt.heard(), [{ kind: 'rename', epoch: 1, name: 'later', calledAt: 4 }]);
  events.settle('s');
  const [report, rename, dropped] = heard();
  assert.deepEqual(report, { kind: 'report', epoch: 1, stats: { totalCostUsd: 3, model: 'two' } });
  assert.deepEqual(rename, { kind: 'rename', epoch: 1, name: 'name 3', calledAt: 3 });
  assert.match((dropped as { message: string }).message, /^3 log lines were dropped/);
});
