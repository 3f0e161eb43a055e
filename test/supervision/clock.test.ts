// Durations are not measured by a clock that can be set, nor by time in which the whole process stood still.

import assert from 'node:assert/strict';
import { mock, test, type TestContext } from 'node:test';
import { LiveTime } from '../../src/main/clock.js';
import { until } from '../support/host.js';
import { GRACE_MS, complete, gate, hasCounted, house, inhabit, isRunning, outcome } from './house.js';

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
  test(`a clock that is set ${what} neither delays nor hastens timeouts and grace`, { timeout: 20_000 }, async (t) => {
    const host = await house(t, { threads: 2 });
    await inhabit(host, 'cpu', 'cpu2', 'io');
    const { path, open } = gate(t);
    const waiting = host.send('io', { count: 1, how: 'wait', until: path });
    const timed = host.send('cpu', { count: 1, how: 'spin', until: path }, { runTimeoutMs: 600 });
    const deaf = host.send('cpu2', { count: 1, how: 'spin', deaf: true, until: path });
    await until('all run', () => ['cpu', 'cpu2', 'io'].every((id) => isRunning(host, id) && hasCounted(host, id, 2)));
    host.interrupt('cpu2');
    setClock(t, byMs);
    const began = performance.now();
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
  const spin = (ms: number): void => {
    for (const until = performance.now() + ms; performance.now() < until;);
  };
  const time = new LiveTime(100);
  const began = time.now();
  for (let i = 0; i < 4; i++) {
    spin(20);
    time.now();
  }
  const busy = time.now() - began;
  assert.ok(busy >= 79, `${busy} ms`);
  const before = performance.now();
  spin(400);
  const stood = performance.now() - before - (time.now() - began - busy);
  assert.ok(stood >= 299 && stood <= performance.now() - before - 99, `${stood} ms were no time`);
});
