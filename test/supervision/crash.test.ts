// Agents that take their thread down: whose fault it is, what becomes of everybody's runs and state, that the pool goes
// on refilling, and the quarantine of those who do it again and again.

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import type { CabanaError, Host, RunHandle } from '../../src/main/index.js';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import {
  ANSWER_MAX_MS,
  complete,
  counts,
  ended,
  gate,
  hasCounted,
  house,
  houseWithClock,
  inhabit,
  isRunning,
  outcome,
  timed,
  restorerOnDisk,
} from './house.js';
import type { Crash } from '../agents/supervision-act.js';

const CRASHED = ['failed', 'AGENT_CRASHED'];
const HEAP_MB = 48;

/** It takes no run: told at once, or, in the moment before the disk knows, by the run's end. */
async function assertQuarantined(host: Host, id: string, why = /quarantined/): Promise<void> {
  const run = host.send(id, {});
  const [code, message] = await run.result.then(
    ({ code, error }) => [code, error],
    (error: CabanaError) => [error.code, error.message],
  );
  assert.equal(code, 'SESSION_QUARANTINED');
  assert.match(message!, why);
}

describe('a thread that is taken down', () => {
  for (const how of ['timer', 'rejection', 'exit'] as const) {
    it(`by an idle session (${how}) is not the fault of the one that was running`, async (t) => {
      const host = await house(t, { threads: 1 });
      await inhabit(host, 'io', 'io2', 'retry');
      await complete(host, 'io', { count: 1 });
      const { path, open } = gate(t);
      const running = host.send('io2', { count: 1, how: 'wait', until: path });
      const retried = host.send('retry', { count: 1, how: 'wait', until: path });
      await until('they run', () => hasCounted(host, 'io2', 2) && hasCounted(host, 'retry', 2));
      // Its run ends well; what it leaves behind goes off afterwards.
      await complete(host, 'io', { count: 1, crash: how, laterMs: 30 });
      assert.deepEqual(outcome(await running.result), ['failed', 'THREAD_DIED']);
      open();
      assert.deepEqual(outcome(await retried.result), ['completed', null]);
      for (const [id, n] of [['io', 2] as const, ['io2', 1] as const, ['retry', 2] as const]) {
        assert.equal((await complete(host, id)).n, n, id);
      }
      // To blame is the one that was idle: twice more, and it is quarantined.
      for (let strikes = 2; strikes <= 3; strikes++) {
        const { threadId } = await complete(host, 'io', { crash: how, laterMs: 0 });
        await until('the thread is replaced', () => typeof host.registry.get('io')?.thread !== 'number');
        assert.notEqual((await complete(host, 'io2')).threadId, threadId);
      }
      await assertQuarantined(host, 'io');
      assert.deepEqual(await ended(host, 'io2', {}), ['completed', null]);
    });
  }

  it('by one run that shares it with another is the fault of the one that did it', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'io', 'io2');
    const { path } = gate(t);
    const neighbour = host.send('io2', { count: 3, how: 'wait', until: path });
    await until('it waits', () => hasCounted(host, 'io2', 4));
    assert.deepEqual(await ended(host, 'io', { count: 1, crash: 'timer' }), CRASHED);
    assert.deepEqual(outcome(await neighbour.result), ['failed', 'THREAD_DIED']);
    assert.equal((await complete(host, 'io2', { count: 1 })).n, 4);
    assert.equal((await complete(host, 'io', { count: 1 })).n, 2);
    assert.deepEqual(await counts(host, 'io2'), [1, 2, 3, 4]);
  });

  it('by heap exhaustion ends its run with AGENT_OUT_OF_MEMORY, and nobody loses anything', async (t) => {
    const host = await house(t, { threads: 1, threadHeapMb: HEAP_MB });
    await inhabit(host, 'cpu', 'cpu2', 'flush');
    for (const id of ['cpu2', 'flush']) await complete(host, id, { count: 2 });
    assert.deepEqual(await ended(host, 'cpu', { count: 3, crash: 'heap' }), ['failed', 'AGENT_OUT_OF_MEMORY']);
    for (const id of ['cpu2', 'flush']) assert.equal((await complete(host, id, { count: 1 })).n, 3);
    assert.equal((await complete(host, 'cpu', { count: 1 })).n, 4);
    assert.deepEqual(await counts(host, 'cpu'), [1, 2, 3, 4]);
  });

  it('by heap exhaustion is not the fault of a run that waits there', async (t) => {
    const host = await house(t, { threads: 1, threadHeapMb: HEAP_MB });
    await inhabit(host, 'io', 'cpu');
    const { path } = gate(t);
    const { path: start, open } = gate(t);
    const hog = host.send('cpu', { count: 1, how: 'wait', until: start, crash: 'heap' });
    await until('the hog runs', () => hasCounted(host, 'cpu', 2));
    // Begun after the hog, so that it was the last to take hold of the thread.
    const waits = host.send('io', { count: 1, how: 'wait', until: path });
    await until('it waits', () => hasCounted(host, 'io', 2));
    open();
    assert.deepEqual(outcome(await hog.result), ['failed', 'AGENT_OUT_OF_MEMORY']);
    assert.deepEqual(outcome(await waits.result), ['failed', 'THREAD_DIED']);
  });
});

test('the pool refills after every death, many times in a row', async (t) => {
  const host = await house(t, { threads: 2 });
  const crashers = ['cpu1', 'cpu2', 'io1', 'io2', 'flush1', 'flush2'];
  await inhabit(host, ...crashers, 'cpu');
  const hows: Crash[] = ['exit', 'timer', 'rejection'];
  const incarnations = new Set<number>();
  for (let round = 0; round < 2; round++) {
    for (const [i, id] of crashers.entries()) {
      assert.deepEqual(await ended(host, id, { count: 1, crash: hows[i % 3]! }), CRASHED);
      incarnations.add((await complete(host, 'cpu', { count: 1 })).threadId);
    }
  }
  await until('both threads are back', () => host.threads().every(({ state }) => state === 'idle'));
  assert.equal((await complete(host, 'cpu')).n, 12);
  for (const id of crashers) {
    const { n, threadId } = await complete(host, id);
    assert.equal(n, 2, id);
    incarnations.add(threadId);
  }
  // Threads are numbered as they are made.
  const made = Math.max(...incarnations) - Math.min(...incarnations);
  assert.ok(made >= 2 * crashers.length, `${made} threads were made`);
});

describe('a suspect', () => {
  it('shares half of the threads with the others, until a run of it completes', async (t) => {
    const host = await house(t, { threads: 4 });
    const suspects = ['cpu1', 'cpu2', 'cpu3'];
    await inhabit(host, ...suspects, 'cpu4', 'cpu5');
    for (const id of suspects) assert.deepEqual(await ended(host, id, { crash: 'exit' }), CRASHED);
    await until('the threads are back', () => host.threads().every(({ state }) => state === 'idle'));
    const { path, open } = gate(t);
    const held = suspects.map((id) => host.send(id, { count: 1, how: 'wait', until: path }));
    await until('two of them run', () => suspects.filter((id) => isRunning(host, id)).length === 2);
    // There is room for whoever behaves, also beside another.
    const good = host.send('cpu4', { count: 1, how: 'wait', until: path });
    await until('it runs', () => isRunning(host, 'cpu4'));
    assert.deepEqual(await ended(host, 'cpu5', { count: 1 }), ['completed', null]);
    assert.equal(suspects.filter((id) => isRunning(host, id)).length, 2);
    assert.equal(host.threads().filter(({ state }) => state === 'idle').length, 1);
    open();
    for (const { result } of [...held, good]) assert.deepEqual(outcome(await result), ['completed', null]);

    const again = gate(t);
    const free = suspects.map((id) => host.send(id, { count: 1, how: 'wait', until: again.path }));
    await until('all of them run', () => suspects.every((id) => isRunning(host, id)));
    again.open();
    for (const { result } of free) assert.deepEqual(outcome(await result), ['completed', null]);
    for (const id of suspects) assert.deepEqual(await counts(host, id), [1, 2]);
  });

  it('takes no thread down under the others', async (t) => {
    const host = await house(t, { threads: 2 });
    const rounds = [
      ['cpu1', 'cpu2'],
      ['cpu3', 'cpu4'],
    ];
    await inhabit(host, 'cpu', ...rounds.flat());
    await complete(host, 'cpu', { count: 1 });
    const crash = (ids: string[]) => Promise.all(ids.map((id) => ended(host, id, { crash: 'exit' })));
    await crash(rounds.flat());
    // Wherever it was, it has been driven from the threads that are theirs by now.
    await crash(rounds[0]!);
    const { threadId } = await complete(host, 'cpu', { count: 1 });
    for (const end of await crash(rounds[1]!)) assert.deepEqual(end, CRASHED);
    assert.equal((await complete(host, 'cpu', { count: 1 })).threadId, threadId);
    assert.deepEqual(await counts(host, 'cpu'), [1, 2, 3]);
  });

  it('has the only thread like anybody else', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu1', 'cpu2');
    for (const id of ['cpu1', 'cpu2']) assert.deepEqual(await ended(host, id, { crash: 'exit' }), CRASHED);
    const runs = ['cpu1', 'cpu2', 'cpu1', 'cpu2'].map((id) => host.send(id, { count: 1 }));
    for (const { result } of runs) assert.deepEqual(outcome(await result), ['completed', null]);
  });
});

describe('quarantine', () => {
  const strike = async (host: Host, id: string, times: number): Promise<void> => {
    for (let i = 0; i < times; i++) assert.deepEqual(await ended(host, id, { crash: 'exit' }), CRASHED);
  };

  it('begins with the third crash, says why, survives a restart, and ends when an operator says so', async (t) => {
    const dataDir = tempDir(t);
    const first = await house(t, { dataDir, threads: 2 });
    await inhabit(first, 'cpu', 'cpu2');
    await complete(first, 'cpu', { count: 2 });
    await strike(first, 'cpu', 3);
    assert.match(first.registry.get('cpu')!.quarantine!, /3 times/, 'when the end of the run is told it has begun');
    await assertQuarantined(first, 'cpu', /3 times; the last time: .*code: 7/);
    const row = await first.registry.snapshot('cpu');
    assert.equal(row?.status, 'error');
    assert.notEqual(row?.error, null);
    await complete(first, 'cpu2', { count: 1 });
    await first.close();

    const second = await house(t, { dataDir, threads: 2 });
    await assertQuarantined(second, 'cpu');
    assert.deepEqual(await counts(second, 'cpu'), [1, 2]);
    assert.equal((await second.registry.snapshot('cpu'))?.status, 'error');
    assert.equal(await second.registry.clearQuarantine('cpu'), true);
    assert.equal((await complete(second, 'cpu', { count: 1 })).n, 3);
    assert.equal((await second.registry.snapshot('cpu'))?.status, 'idle');
    assert.equal(await second.registry.clearQuarantine('nobody'), false);
  });

  it('ends what was queued behind the third crash, and only that', async (t) => {
    const host = await house(t, { threads: 2 });
    await inhabit(host, 'cpu', 'cpu2');
    await strike(host, 'cpu', 2);
    const last = host.send('cpu', { crash: 'exit' });
    const queued = [1, 2, 3].map((count) => host.send('cpu', { count }));
    const other = host.send('cpu2', { count: 1 });
    assert.deepEqual(outcome(await last.result), CRASHED);
    for (const { result } of queued) assert.deepEqual(outcome(await result), ['failed', 'SESSION_QUARANTINED']);
    assert.deepEqual(outcome(await other.result), ['completed', null]);
    assert.deepEqual(await counts(host, 'cpu'), []);
  });

  it('refuses what is sent while it begins, and ends no run that never came to be', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu');
    const sent: RunHandle[] = [];
    const sendOn = (): void => {
      sent.push(host.send('cpu', { count: 1 }));
      if (sent.length < 200) setImmediate(sendOn);
    };
    const notStored: unknown[] = [];
    t.mock.method(host.config.log, 'error', ({ err }: { err?: unknown }, message?: string) => {
      // Memory knows of it, the disk not yet.
      if (message === 'a session was quarantined') setImmediate(sendOn);
      if (message === 'an outcome could not be stored') notStored.push(err);
    });
    for (let round = 1; round <= 4; round++) {
      await strike(host, 'cpu', 3);
      await until('all are sent', () => sent.length === 200);
      for (const { result } of sent.splice(0)) await assert.rejects(result, { code: 'SESSION_QUARANTINED' });
      assert.equal(await host.registry.clearQuarantine('cpu'), true);
    }
    assert.deepEqual(notStored, []);
    assert.deepEqual(await counts(host, 'cpu'), []);
  });

  it('forgets what is more than ten minutes old, and what an operator has cleared', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 2 });
    const back = (): Promise<void> =>
      until('the threads are back', () => {
        clock.advance(50);
        return host.threads().every(({ state }) => state === 'idle');
      });
    await inhabit(host, 'cpu');
    const crash = async (): Promise<void> => {
      await strike(host, 'cpu', 1);
      await back();
    };
    await crash();
    await crash();
    clock.sleep(10 * 60_000);
    await crash();
    await crash();
    assert.deepEqual(await ended(host, 'cpu', {}), ['completed', null]);
    await crash();
    await assertQuarantined(host, 'cpu');
    assert.equal(await host.registry.clearQuarantine('cpu'), true);
    await crash();
    await crash();
    assert.deepEqual(await ended(host, 'cpu', {}), ['completed', null]);
  });

  it('is not for those whose neighbours crash, or who throw', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'io', 'cpu');
    const { path } = gate(t);
    for (let i = 0; i < 3; i++) {
      const neighbour = host.send('io', { how: 'wait', until: path });
      await until('it waits', () => isRunning(host, 'io'));
      assert.deepEqual(await ended(host, 'cpu', { crash: 'exit' }), CRASHED);
      assert.deepEqual(outcome(await neighbour.result), ['failed', 'THREAD_DIED']);
    }
    assert.deepEqual(await ended(host, 'io', {}), ['completed', null]);
    await assertQuarantined(host, 'cpu');
  });

  it('is also for a session that takes its thread down whenever it is brought up', async (t) => {
    const host = await house(t, { threads: 1, maxIdleAgents: 1 });
    const exitWhile = join(tempDir(t), 'exit');
    await restorerOnDisk(host, 'bad', { exitWhile });
    writeFileSync(exitWhile, '');
    for (let i = 0; i < 3; i++)
      assert.deepEqual(outcome(await host.send('bad', {}).result), ['failed', 'AGENT_CRASHED']);
    rmSync(exitWhile);
    await assertQuarantined(host, 'bad');
    assert.deepEqual(await ended(host, 'io', {}), ['completed', null]);
  });
});

test('what was pending when the thread died is answered at once', async (t) => {
  const host = await house(t, { threads: 1 });
  await inhabit(host, 'io', 'io2', 'io3', 'cpu');
  const { path } = gate(t);
  const waiting = ['io', 'io2', 'io3'].map((id) => host.send(id, { how: 'wait', until: path }));
  await until('all wait', () => ['io', 'io2', 'io3'].every((id) => isRunning(host, id)));
  const crashed = ended(host, 'cpu', { crash: 'exit' });
  const ends = waiting.map(({ result }) => timed(result));
  assert.deepEqual(await crashed, CRASHED);
  for (const { value, ms } of await Promise.all(ends)) {
    assert.deepEqual(outcome(value), ['failed', 'THREAD_DIED']);
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
  }
});
