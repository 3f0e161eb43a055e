// Threads that are held by one while another's cpu run waits for them: who has the thread is judged, not who waits.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ActAnswer } from '../agents/supervision-act.js';
import { until } from '../support/host.js';
import {
  ANSWER_MAX_MS,
  GRACE_MS,
  complete,
  ended,
  gate,
  hasCounted,
  house,
  houseWithClock,
  impatientHouse,
  inhabit,
  isRunning,
  occupy,
  outcome,
  timed,
  UNRESPONSIVE,
} from './house.js';

describe('an io run that does not mind its interrupt', () => {
  it('and holds its thread costs that thread, though a cpu run waits there, which is not to blame', async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    await inhabit(host, 'io', 'cpu');
    // As often as it takes to be quarantined.
    for (let strikes = 1; strikes <= 3; strikes++) {
      const { run: holder } = await occupy(t, host, 'io', { count: 1, deaf: true });
      const waits = host.send('cpu', { count: 1 });
      assert.equal(host.interrupt('io'), holder.runId);
      const { value, ms } = await timed(holder.result);
      assert.deepEqual(outcome(value), UNRESPONSIVE);
      assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
      assert.deepEqual(outcome(await waits.result), ['completed', null]);
    }
    assert.equal((await complete(host, 'cpu')).n, 3);
    assert.equal((await ended(host, 'io', {}))[1], 'SESSION_QUARANTINED');
  });

  it('and only waits is abandoned, though cpu runs that yield have its thread one after the other', async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    const others = ['cpu', 'cpu2'];
    await inhabit(host, 'io', ...others);
    const { path } = gate(t);
    const deaf = host.send('io', { count: 1, how: 'wait', deaf: true, until: path });
    await until('it waits', () => hasCounted(host, 'io', 2));
    let over = false;
    const busy = others.map(async (id) => {
      while (!over) await complete(host, id, { how: 'slices', ms: 20 });
    });
    assert.equal(host.interrupt('io'), deaf.runId);
    const { value, ms } = await timed(deaf.result);
    over = true;
    assert.deepEqual(outcome(value), UNRESPONSIVE);
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    await Promise.all(busy);
  });
});

/** Longer than anybody may ignore an interrupt who has the thread: whoever is blamed by then was to be blamed. */
const pastTheGrace = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2 * GRACE_MS));

it('a cpu run that was told to stop while it waited for a held thread is not to blame for it', async (t) => {
  const host = await impatientHouse(t, { threads: 1 });
  await inhabit(host, 'io', 'cpu');
  const { run: holder, letGo } = await occupy(t, host, 'io', { count: 1 });
  const waits = host.send('cpu', { count: 1 }, { runTimeoutMs: 1 });
  await until('its time is over', () => host.registry.get('cpu')?.state === 'interrupting');
  await pastTheGrace();
  letGo();
  const { threadId } = (await holder.result).output as ActAnswer;
  assert.deepEqual(outcome(await waits.result), ['interrupted', 'RUN_TIMEOUT']);
  assert.equal((await complete(host, 'cpu')).threadId, threadId, 'the thread lives');
  assert.equal(host.registry.sessionSummary('cpu')!.crashes, 0);
});

it('a run that is deleted while it waits for a held thread costs nobody anything', async (t) => {
  const host = await impatientHouse(t, { threads: 1 });
  await inhabit(host, 'io', 'cpu');
  const { run: holder, letGo } = await occupy(t, host, 'io', { count: 1 });
  const waits = host.send('cpu', { count: 1 });
  await waits.accepted;
  assert.equal(await host.registry.delete('cpu'), true);
  assert.deepEqual(outcome(await waits.result), ['interrupted', 'SESSION_DELETED']);
  await pastTheGrace();
  letGo();
  assert.deepEqual(outcome(await holder.result), ['completed', null]);
});

it('a compaction that waits for a held thread is not to blame for it', async (t) => {
  const { host, clock } = await houseWithClock(t, { threads: 1, compactAfterMs: 1_000 });
  await inhabit(host, 'io', 'compact');
  await complete(host, 'compact', { add: 1 });
  const { run: holder, letGo } = await occupy(t, host, 'io', { count: 1 });
  clock.sleep(2_000);
  await until('a compaction waits', () => {
    clock.advance(500);
    return host.threads()[0]!.state === 'busy';
  });
  const next = host.send('compact', { add: 2 });
  await next.accepted;
  await pastTheGrace();
  letGo();
  assert.deepEqual(outcome(await holder.result), ['completed', null]);
  assert.deepEqual(outcome(await next.result), ['completed', null]);
  assert.equal(host.threads()[0]!.crashes, 0);
});

it("an io run's CPU time is without that of the cpu runs beside it", async (t) => {
  const host = await house(t, { threads: 1 });
  await inhabit(host, 'io', 'cpu');
  const { path, open } = gate(t);
  const waits = host.send('io', { how: 'wait', until: path });
  await until('it waits', () => isRunning(host, 'io'));
  await complete(host, 'cpu', { how: 'slices', ms: 400 });
  open();
  await waits.result;
  const [io, cpu] = ['io', 'cpu'].map((id) => host.registry.sessionSummary(id)!.cpuMs);
  assert.ok(io! < cpu! / 2, `${io} of io, ${cpu} of cpu`);
});
