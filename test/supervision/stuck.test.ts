// Runs that do not stop when they are told: they cost their own thread, not their neighbours; and nothing that they do
// afterwards is written.

import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Host } from '../../src/main/index.js';
import { REPLACE_AFTER_CULPRIT } from '../../src/protocol/limits.js';
import { launchWithClock } from '../main/launch.js';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import {
  ANSWER_MAX_MS,
  GRACE_MS,
  complete,
  counts,
  ended,
  gate,
  hasCounted,
  house,
  impatientHouse,
  inhabit,
  isRunning,
  occupy,
  outcome,
  timed,
  restorerOnDisk,
  UNRESPONSIVE,
} from './house.js';
import { randomOf } from '../support/random.js';

/** Counts twice, and is then deaf. */
const DEAF = { count: 2, deaf: true };

const threadsAreUp = (host: Host): boolean => host.threads().every(({ state }) => state === 'idle');

describe('a run that ignores its interrupt', () => {
  it('ends interrupted when its grace is used up, and what it appended is kept', async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    await inhabit(host, 'cpu');
    const first = await complete(host, 'cpu', { count: 1 });
    const { run } = await occupy(t, host, 'cpu', DEAF);
    const ending = timed(run.result);
    assert.equal(host.interrupt('cpu'), run.runId);
    const { value, ms } = await ending;
    assert.deepEqual(outcome(value), UNRESPONSIVE);
    assert.match(value.error!, new RegExp(`${GRACE_MS} ms`));
    assert.ok(ms >= GRACE_MS - 30 && ms < ANSWER_MAX_MS, `${ms} ms`);
    const row = await host.registry.snapshot('cpu');
    assert.deepEqual([row?.status, row?.error, row?.errorCode], ['error', value.error, 'AGENT_UNRESPONSIVE']);
    assert.deepEqual(await counts(host, 'cpu'), [1, 2, 3]);
    const again = await complete(host, 'cpu', { count: 1 });
    assert.equal(again.n, 4);
    assert.notEqual(again.threadId, first.threadId);
    await until('the thread is replaced', () => threadsAreUp(host));
    const messages = (await host.messages('cpu'))!.messages;
    const ends = messages.filter((entry) => entry['code'] === 'AGENT_UNRESPONSIVE');
    assert.equal(ends.length, 1, 'its end is in the history, once');
  });

  for (const threads of [1, 2]) {
    it(`costs its idle neighbours nothing but a moment (${threads} threads)`, async (t) => {
      const host = await impatientHouse(t, { threads });
      const ids = ['cpu', 'cpu2', 'cpu3', 'io', 'io2', 'flush', 'flush2'];
      await inhabit(host, ...ids);
      for (const id of ids) await complete(host, id, { count: 2 });
      const epochs = new Map(ids.map((id) => [id, host.registry.get(id)!]));
      const { run } = await occupy(t, host, 'cpu', DEAF);
      const home = host.registry.get('cpu')!.thread;
      const neighbours = ids.filter((id) => id !== 'cpu' && epochs.get(id)!.thread === home);
      assert.ok(neighbours.length >= 2);
      host.interrupt('cpu');
      // What shares threads is told only then: sent before, it would count as in progress there.
      const answer = async (id: string) => {
        if (id.startsWith('io')) await run.result;
        return complete(host, id, { count: 1 });
      };
      for (const { value, ms } of await Promise.all(neighbours.map((id) => timed(answer(id))))) {
        assert.equal(value.n, 3);
        assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
      }
      assert.deepEqual(outcome(await run.result), UNRESPONSIVE);
      // Who was on the stand-in has no epoch while it moves back.
      await until('the stand-in has ended', () => host.threads().length === threads);
      await until('all are back', () => neighbours.every((id) => typeof host.registry.get(id)?.epoch === 'number'));
      for (const id of neighbours) {
        assert.ok(host.registry.get(id)!.epoch! > epochs.get(id)!.epoch!, `the epoch of ${id}`);
        assert.deepEqual(await counts(host, id), [1, 2, 3]);
      }
      const untouched = ids.filter((id) => epochs.get(id)!.thread !== home);
      for (const id of untouched) assert.equal(host.registry.get(id)!.epoch, epochs.get(id)!.epoch, id);
    });
  }

  it("ends its neighbour's run with a code that says: try again; or that run starts again by itself", async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    await inhabit(host, 'io', 'retry', 'cpu');
    const { path, open } = gate(t);
    const neighbour = host.send('io', { count: 1, how: 'wait', until: path });
    const retried = host.send('retry', { count: 1, how: 'wait', until: path });
    await until('both wait', () => hasCounted(host, 'io', 2) && hasCounted(host, 'retry', 2));
    const { run } = await occupy(t, host, 'cpu', DEAF);
    host.interrupt('cpu');
    const { value, ms } = await timed(neighbour.result);
    assert.deepEqual(outcome(value), ['failed', 'THREAD_DIED']);
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    assert.deepEqual(outcome(await run.result), UNRESPONSIVE);
    open();
    const again = await retried.result;
    assert.deepEqual(outcome(again), ['completed', null]);
    // What the lost attempt had appended stays, and the state agrees with it.
    assert.deepEqual([(again.output as { n: number }).n, await counts(host, 'retry')], [2, [1, 2]]);
    assert.equal((await complete(host, 'io', { count: 1 })).n, 2);
  });

  it('a retry is granted as often as the profile says, and no more', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'retry', 'cpu');
    const { path } = gate(t);
    const retried = host.send('retry', { count: 1, how: 'wait', until: path });
    for (const attempt of [1, 2]) {
      await until(
        'it waits',
        () => isRunning(host, 'retry') && host.registry.sessionSummary('retry')!.durableSeq > attempt,
      );
      assert.deepEqual(await ended(host, 'cpu', { crash: 'exit' }), ['failed', 'AGENT_CRASHED']);
    }
    assert.deepEqual(outcome(await retried.result), ['failed', 'THREAD_DIED']);
    assert.deepEqual(await counts(host, 'retry'), [1, 2]);
  });

  it('runs that were queued behind it run, in order', async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    await inhabit(host, 'cpu');
    const { run } = await occupy(t, host, 'cpu', DEAF);
    const queued = [1, 2, 3].map((count) => host.send('cpu', { count }));
    host.interrupt('cpu');
    assert.deepEqual(outcome(await run.result), UNRESPONSIVE);
    const numbers = await Promise.all(queued.map(async ({ result }) => ((await result).output as { n: number }).n));
    assert.deepEqual(numbers, [3, 5, 8]);
  });

  it('is deleted at once, and its thread serves others again soon', async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    await inhabit(host, 'cpu', 'cpu2');
    const { run } = await occupy(t, host, 'cpu', DEAF);
    const { value, ms } = await timed(host.registry.delete('cpu'));
    assert.equal(value, true);
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    assert.deepEqual(outcome(await run.result), ['interrupted', 'SESSION_DELETED']);
    const other = await timed(complete(host, 'cpu2', { count: 1 }));
    assert.ok(other.ms < ANSWER_MAX_MS, `${other.ms} ms`);
    assert.equal(await host.registry.ensure('cpu'), false);
  });

  it('is to blame for its thread also when it had awaited something: the next one need not wait long', async (t) => {
    const dir = tempDir(t);
    const agent = join(dir, 'agent.mjs');
    writeFileSync(
      agent,
      `import { writeFileSync } from 'node:fs';
       export default {
         profile: 'late',
         async run(ctx, mark) {
           await new Promise((resolve) => setImmediate(resolve));
           writeFileSync(mark, '');
           for (;;);
         },
       };`,
    );
    // Time stands still: what is to wait for long before it is replaced is not replaced.
    const { host, clock } = await launchWithClock(t, { agents: [agent], threads: 1, interruptGraceMs: GRACE_MS });
    for (const id of ['a', 'b', 'c', 'd']) {
      await host.create({ sessionId: id, agentProfile: 'late' });
      clock.advance(REPLACE_AFTER_CULPRIT.stableMs);
      const run = host.send(id, join(dir, id));
      await until('it spins', () => existsSync(join(dir, id)));
      host.interrupt(id);
      assert.deepEqual(outcome(await run.result), UNRESPONSIVE);
      await until('the thread is replaced', () => host.threads().length === 1 && threadsAreUp(host));
    }
  });

  it('while it is being brought up costs its thread as well', async (t) => {
    const host = await impatientHouse(t, { threads: 1, maxIdleAgents: 1 });
    const dir = tempDir(t);
    const [spinWhile, spins] = [join(dir, 'while'), join(dir, 'spins')];
    await restorerOnDisk(host, 'stuck', { spinWhile, spins });
    const { threadId } = await complete(host, 'io');
    writeFileSync(spinWhile, '');
    const run = host.send('stuck', {});
    await until('it is being brought up', () => existsSync(spins));
    const ending = timed(run.result);
    assert.equal(host.interrupt('stuck'), run.runId);
    const { value, ms } = await ending;
    assert.deepEqual(outcome(value), UNRESPONSIVE);
    assert.ok(ms >= GRACE_MS - 30 && ms < ANSWER_MAX_MS, `${ms} ms`);
    // It still spins there.
    await until('the thread is replaced', () => host.threads().length === 1 && threadsAreUp(host));
    assert.equal(host.threads()[0]!.crashes, 1);
    assert.notEqual((await complete(host, 'io')).threadId, threadId);
    rmSync(spinWhile);
    assert.deepEqual(await complete(host, 'stuck'), { n: 2 });
  });
});

describe('an io run that ignores its interrupt', () => {
  it('is abandoned: the other sessions of its thread stay where they are', async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    await inhabit(host, 'io', 'io2', 'cpu');
    const before = await complete(host, 'cpu', { count: 1 });
    const { path, open } = gate(t);
    const { path: otherPath, open: openOther } = gate(t);
    const neighbour = host.send('io2', { how: 'wait', until: otherPath });
    const run = host.send('io', { count: 1, how: 'wait', deaf: true, until: path, after: true });
    await until('it waits', () => hasCounted(host, 'io', 2) && isRunning(host, 'io2'));
    host.interrupt('io');
    const { value, ms } = await timed(run.result);
    assert.deepEqual(outcome(value), UNRESPONSIVE);
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    // It still waits there. Its session goes on without it, under a new epoch.
    assert.equal((await complete(host, 'io', { count: 1 })).n, 2);
    const ran = host.threads()[0]!.runs;
    open();
    await until('it has woken, and ended', () => host.threads()[0]!.runs > ran);
    assert.equal((await complete(host, 'io', { count: 1 })).n, 3);
    assert.deepEqual(await counts(host, 'io'), [1, 2, 3], 'the run that woke wrote nothing');
    assert.deepEqual(outcome((await host.run('io', run.runId))!), UNRESPONSIVE);
    openOther();
    assert.deepEqual(outcome(await neighbour.result), ['completed', null]);
    assert.deepEqual([host.registry.get('io2')!.epoch, host.registry.get('cpu')!.epoch], [1, 1]);
    assert.equal((await complete(host, 'cpu')).threadId, before.threadId);
  });

  it('and holds its thread costs that thread', async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    await inhabit(host, 'io', 'io2');
    const { run } = await occupy(t, host, 'io', DEAF);
    host.interrupt('io');
    const { value, ms } = await timed(complete(host, 'io2', { count: 1 }));
    assert.equal(value.n, 1);
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    assert.deepEqual(outcome(await run.result), UNRESPONSIVE);
  });

  it('because a cpu run holds the thread is no reason to end that cpu run', async (t) => {
    // Long enough for the event loop to be seen standing still.
    const host = await house(t, { threads: 1, interruptGraceMs: 1_600 });
    await inhabit(host, 'io', 'cpu');
    const { path } = gate(t);
    const waits = host.send('io', { how: 'wait', until: path });
    await until('it waits', () => isRunning(host, 'io'));
    const works = host.send('cpu', { count: 1, how: 'spin', ms: 3_000 });
    await until('it works', () => isRunning(host, 'cpu'));
    host.interrupt('io');
    assert.deepEqual(outcome(await works.result), ['completed', null]);
    assert.deepEqual(await waits.result.then(({ state }) => state), 'interrupted');
  });
});

describe('a run that outlives its timeout', () => {
  it("is asked to stop, after its profile's time or its own", async (t) => {
    const host = await house(t);
    await inhabit(host, 'cpu', 'timeout');
    const { path } = gate(t);
    const forever = { count: 1, how: 'spin', until: path };
    const own = timed(host.send('cpu', forever, { runTimeoutMs: 100 }).result);
    const profiles = timed(host.send('timeout', forever).result);
    for (const [{ value, ms }, limitMs] of [[await own, 100] as const, [await profiles, 1_500] as const]) {
      assert.deepEqual(outcome(value), ['interrupted', 'RUN_TIMEOUT']);
      assert.ok(ms >= limitMs - 10 && ms < ANSWER_MAX_MS, `${ms} ms`);
    }
    assert.equal((await complete(host, 'timeout', { count: 1 })).n, 2);
    assert.deepEqual([host.registry.get('cpu')!.epoch, host.registry.get('timeout')!.epoch], [1, 1]);
  });

  it("has its own time instead of its profile's, and only from its start on", async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'timeout', 'cpu');
    const runs = [
      host.send('cpu', { how: 'spin', ms: 200 }),
      host.send('timeout', { how: 'spin', ms: 2_000 }, { runTimeoutMs: 60_000 }),
      host.send('timeout', {}),
      host.send('timeout', {}),
    ];
    for (const { result } of runs) assert.deepEqual(outcome(await result), ['completed', null]);
  });

  it('and ignores that, too, costs its thread', async (t) => {
    const host = await impatientHouse(t, { threads: 1 });
    await inhabit(host, 'cpu', 'cpu2');
    const { path } = gate(t);
    const run = timed(
      host.send('cpu', { count: 2, how: 'spin', deaf: true, until: path }, { runTimeoutMs: 1_000 }).result,
    );
    const { value, ms } = await run;
    assert.deepEqual(outcome(value), UNRESPONSIVE);
    assert.ok(ms >= 1_000 + GRACE_MS - 30 && ms < ANSWER_MAX_MS, `${ms} ms`);
    assert.equal((await complete(host, 'cpu2', { count: 1 })).n, 1);
    assert.deepEqual(await counts(host, 'cpu'), [1, 2]);
  });
});

test('an interrupt touches the run that it named, and never the next one', async (t) => {
  const random = randomOf(t);
  const host = await house(t);
  await inhabit(host, 'cpu', 'cpu2', 'io');
  const named = new Set<string>();
  let over = false;
  const ids = ['cpu', 'cpu2', 'io'];
  const interrupting = (async () => {
    while (!over) {
      await pause(random() * 5);
      const asked = host.interrupt(ids[Math.floor(random() * ids.length)]!);
      if (asked !== null) named.add(asked);
    }
  })();
  let interrupted = 0;
  const hammered = ids.map(async (id) => {
    for (let i = 0; i < 80; i++) {
      const how = random() < 0.5 ? 'spin' : 'slices';
      const run = host.send(id, { count: 1, how, ms: random() * 6 });
      assert.equal(named.has(run.runId), false);
      const info = await run.result;
      if (info.state === 'interrupted') {
        interrupted++;
        assert.ok(named.has(run.runId), `run ${i} of ${id} was interrupted by an interrupt that named another`);
        assert.equal(info.code, 'RUN_INTERRUPTED');
      } else {
        assert.deepEqual(outcome(info), ['completed', null]);
      }
    }
  });
  await Promise.all(hammered).finally(() => (over = true));
  await interrupting;
  assert.ok(interrupted > 0 && interrupted < 240, `${interrupted} of 240 were interrupted`);
  for (const id of ids) assert.equal((await complete(host, id)).n, (await counts(host, id)).length);
});
