// Durations are not measured by a clock that can be set, nor by time in which the whole process stood still.

import assert from 'node:assert/strict';
import { mock, test, type TestContext } from 'node:test';
import { LiveTime } from '../../src/main/clock.js';
import { until } from '../support/host.js';
import { GRACE_MS, complete, gate, hasCounted, impatientHouse, inhabit, outcome } from './house.js';

const HOUR_MS = 3_600_000;

/** From now on the system's clock is so far from what it would be. */
function setClock(t: TestContext, byMs: number): void {
  const original = Date.now.bind(Date);
  const set = mock.method(Date, 'now', () => original() + byMs);
  t.after(() => set.mock.restore());
}

for (const [what, byMs] of [
  ['back', -HOUR_MS],
  ['forward', HOUR_MS],
] as const) {
  test(`a clock that is set ${what} neither delays nor hastens timeouts and grace`, async (t) => {
    const host = await impatientHouse(t, { threads: 2 });
    await inhabit(host, 'cpu', 'cpu2', 'io');
    const { path, open } = gate(t);
    const waiting = host.send('io', { count: 1, how: 'wait', until: path });
    const timed = host.send('cpu', { count: 1, how: 'spin', until: path }, { runTimeoutMs: 1_500 });
    const deaf = host.send('cpu2', { count: 1, how: 'spin', deaf: true, until: path });
    await until('all run', () => ['cpu', 'cpu2', 'io'].every((id) => hasCounted(host, id, 2)));
    const began = performance.now();
    host.interrupt('cpu2');
    setClock(t, byMs);
    assert.deepEqual(outcome(await deaf.result), ['interrupted', 'AGENT_UNRESPONSIVE']);
    assert.ok(performance.now() - began >= GRACE_MS - 60, 'the grace was given');
    assert.deepEqual(outcome(await timed.result), ['interrupted', 'RUN_TIMEOUT']);
    open();
    const { state, code } = await waiting.result;
    // It shares a thread with one of the others: its own fate, if that thread was given up.
    assert.ok(state === 'completed' || code === 'THREAD_DIED', `${state} ${code}`);
    assert.equal((await complete(host, 'cpu', { count: 1 })).n, 2);
  });
}

test('a stop of the process is no time, and a busy moment is', () => {
  let instant = 1_000;
  const time = new LiveTime(100, () => instant);
  const began = time.now();
  for (const [passes, counts] of [
    [80, 80],
    [100, 100],
    [400, 100],
    [0, 0],
    [3_600_000, 100],
    [20, 20],
  ] as const) {
    const before = time.now();
    instant += passes;
    assert.equal(time.now() - before, counts, `${passes} ms`);
  }
  assert.equal(time.now() - began, 400);
});
