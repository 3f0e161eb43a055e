// While a run does not mind its interrupt, nobody waits for the end of its grace: another thread stands in for the one that
// it holds, and what waits for that thread is had elsewhere.

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Host } from '../../src/main/index.js';
import { until } from '../support/host.js';
import {
  ANSWER_MAX_MS,
  complete,
  counts,
  ended,
  house,
  inhabit,
  isRunning,
  leave,
  occupy,
  outcome,
  timed,
  watch,
} from './house.js';

/** Counts once, and is then deaf. */
const DEAF = { count: 1, deaf: true };

/** A run that has been told to stop and holds its thread until it is let go. */
async function holdUp(t: TestContext, host: Host, id: string) {
  const held = await occupy(t, host, id, DEAF);
  assert.equal(host.interrupt(id), held.run.runId);
  return held;
}

const threadOf = (host: Host, id: string) => host.registry.get(id)?.thread;

describe('a thread that is held up', () => {
  it('has a stand-in while somebody waits, which ends when the run has ended', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu', 'cpu2', 'cpu3', 'io');
    const own = await complete(host, 'cpu2', { count: 1 });
    const { run, letGo } = await holdUp(t, host, 'cpu');
    const first = await timed(complete(host, 'cpu2', { count: 1 }));
    assert.ok(first.ms < ANSWER_MAX_MS, `${first.ms} ms`);
    assert.equal(first.value.n, 2);
    assert.notEqual(first.value.threadId, own.threadId);
    // One that has never run comes up there as well.
    assert.equal((await complete(host, 'cpu3', { count: 1 })).threadId, first.value.threadId);
    assert.deepEqual(
      host.threads().map(({ no, state }) => [no, state]),
      [
        [0, 'busy'],
        [1, 'idle'],
      ],
    );
    assert.equal((await host.run('cpu', run.runId))!.state, 'running');
    letGo();
    // It never looked.
    assert.deepEqual(outcome(await run.result), ['completed', null]);
    await until('the stand-in has ended', () => host.threads().length === 1);
    for (const id of ['cpu2', 'cpu3']) {
      assert.equal(threadOf(host, id), 0, `${id} has moved`);
      const { n, threadId } = await complete(host, id, { count: 1 });
      assert.equal(threadId, own.threadId);
      assert.deepEqual((await counts(host, id)).at(-1), n);
    }
    assert.equal((await complete(host, 'cpu', { count: 1 })).n, 2);
  });

  it('has it until it is given up, and there are never more than twice as many threads', async (t) => {
    const host = await house(t, { threads: 1, interruptGraceMs: 1_000 });
    await inhabit(host, 'cpu', 'cpu2', 'cpu3');
    const first = await holdUp(t, host, 'cpu');
    const second = await holdUp(t, host, 'cpu2');
    const third = complete(host, 'cpu3', { count: 1 });
    let most = 0;
    await until('all threads but one have ended', () => {
      most = Math.max(most, host.threads().length);
      return most > 1 && host.threads().length === 1 && host.threads()[0]!.state === 'idle';
    });
    assert.equal(most, 2);
    for (const { run } of [first, second])
      assert.deepEqual(outcome(await run.result), ['interrupted', 'AGENT_UNRESPONSIVE']);
    assert.equal((await third).n, 1);
    for (const id of ['cpu', 'cpu2', 'cpu3'])
      assert.deepEqual(await counts(host, id), [1], `what ${id} had appended is kept`);
  });

  it('has none while nobody waits', async (t) => {
    const host = await house(t, { threads: 2, interruptGraceMs: 600 });
    await inhabit(host, 'cpu', 'cpu2');
    const { run } = await holdUp(t, host, 'cpu');
    let most = 0;
    let over = false;
    void run.result.finally(() => (over = true));
    await until('it is given up', () => {
      most = Math.max(most, host.threads().length);
      return over;
    });
    assert.equal(most, 2);
    assert.equal((await complete(host, 'cpu2', { count: 1 })).n, 1);
  });

  it('has another stand-in when one is taken down', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu', 'cpu2', 'cpu3');
    const { letGo } = await holdUp(t, host, 'cpu');
    assert.deepEqual(await ended(host, 'cpu2', { count: 1, crash: 'exit' }), ['failed', 'AGENT_CRASHED']);
    const { value, ms } = await timed(complete(host, 'cpu3', { count: 1 }));
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    assert.equal(value.n, 1);
    letGo();
    await until('the stand-in has ended', () => host.threads().length === 1);
    assert.deepEqual(await counts(host, 'cpu2'), [1]);
  });

  it('has one for io runs and restores that wait for it', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu');
    const { run, letGo } = await holdUp(t, host, 'cpu');
    // On disk only: every thread is busy.
    await inhabit(host, 'io', 'io2');
    const restored = timed(host.registry.ensure('io2'));
    const { value, ms } = await timed(complete(host, 'io', { count: 1 }));
    assert.deepEqual([value.n, (await restored).value], [1, true]);
    assert.ok(ms < ANSWER_MAX_MS && (await restored).ms < ANSWER_MAX_MS, `${ms} ms, ${(await restored).ms} ms`);
    assert.equal((await host.run('cpu', run.runId))!.state, 'running');
    letGo();
  });

  it('has one that stays for an agent that cannot be saved, and until then serves it', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu', 'cpu2');
    await host.create({ sessionId: 'stubborn', agentProfile: 'unsaveable' });
    const { letGo } = await holdUp(t, host, 'cpu');
    await complete(host, 'cpu2', { count: 1 });
    assert.deepEqual(outcome(await host.send('stubborn', { broken: true }).result), ['completed', null]);
    assert.equal(threadOf(host, 'stubborn'), 1);
    letGo();
    await until('it cannot be saved', () => host.threads()[1]?.state === 'retiring' && threadOf(host, 'cpu2') === 0);
    // Its run begins there all the same: it is what mends the state.
    assert.deepEqual((await host.send('stubborn', { broken: false }).result).output, { n: 2 });
    await until('the stand-in has ended', () => host.threads().length === 1);
    assert.deepEqual((await host.send('stubborn', { broken: false }).result).output, { n: 3 });
  });

  it('and its stand-in close with the host, and what both had is on disk', async (t) => {
    const host = await house(t, { threads: 1, flushDeadlineMs: 2_000 });
    await inhabit(host, 'cpu', 'flush');
    await holdUp(t, host, 'cpu');
    // Its state is saved by the flush alone.
    assert.equal((await complete(host, 'flush', { count: 2 })).n, 2);
    const { value, ms } = await timed(host.close());
    assert.deepEqual([value.live, value.unflushed], [2, ['cpu']]);
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
  });
});

describe('an activation that waits for a busy thread', () => {
  /** 'cold' is about to come up on one of two threads that are both held. */
  async function waiting(t: TestContext) {
    const host = await house(t, { threads: 2, maxIdleAgents: 1 });
    await inhabit(host, 'flush', 'cpu', 'cpu2');
    for (const id of ['flush', 'cpu', 'cpu2']) await complete(host, id, { count: 1 });
    await leave(host, 'flush', 'cpu');
    watch(t, host, 'flush');
    const holders = new Map([
      ['cpu', await occupy(t, host, 'cpu', DEAF)],
      ['cpu2', await occupy(t, host, 'cpu2', DEAF)],
    ]);
    const restored = host.registry.ensure('flush');
    await until('it waits', () => host.registry.get('flush')?.state === 'restoring');
    const [held, other] = ['cpu', 'cpu2'].sort((a) => (threadOf(host, a) === threadOf(host, 'flush') ? -1 : 1));
    assert.equal(threadOf(host, held!), threadOf(host, 'flush'));
    return { host, restored, held: held!, letGo: holders.get(other!)!.letGo, letHeldGo: holders.get(held!)!.letGo };
  }

  it('takes place on another one when a run of it could begin there', async (t) => {
    const { host, restored, held, letGo, letHeldGo } = await waiting(t);
    const run = timed(complete(host, 'flush', { count: 1 }));
    letGo();
    const { value, ms } = await run;
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    assert.equal(value.n, 2);
    assert.equal(await restored, true);
    assert.equal(isRunning(host, held), true);
    const { epoch } = host.registry.get('flush')!;
    letHeldGo();
    await until('the other thread has come to it', () => !isRunning(host, held));
    assert.equal((await complete(host, 'flush', { count: 1 })).n, 3);
    assert.equal(host.registry.get('flush')!.epoch, epoch, 'it was activated once');
    assert.deepEqual(await counts(host, 'flush'), [1, 2, 3]);
  });

  it('is not waited for by the deletion of its session', async (t) => {
    const { host, restored, held, letHeldGo } = await waiting(t);
    const { value, ms } = await timed(host.registry.delete('flush'));
    assert.ok(value && ms < ANSWER_MAX_MS, `${ms} ms`);
    assert.equal(await restored, false);
    assert.equal(isRunning(host, held), true);
    letHeldGo();
  });

  it('for a run that is asked to stop ends that run at once, and is no fault of whoever holds the thread', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu');
    const { run: works, letGo } = await occupy(t, host, 'cpu', { count: 1 });
    await inhabit(host, 'io', 'io2');
    const waits = host.send('io', { count: 1 });
    const limited = host.send('io2', { count: 1 }, { runTimeoutMs: 50 });
    await until('one waits for the thread', () => host.registry.get('io')?.state === 'restoring');
    assert.equal(host.interrupt('io'), waits.runId);
    assert.deepEqual(outcome(await waits.result), ['interrupted', 'RUN_INTERRUPTED']);
    assert.deepEqual(outcome(await limited.result), ['interrupted', 'RUN_TIMEOUT']);
    letGo();
    assert.deepEqual(outcome(await works.result), ['completed', null]);
    for (const id of ['io', 'io2']) assert.equal((await complete(host, id, { count: 1 })).n, 1);
  });

  it('takes place on another one when its thread is held up', async (t) => {
    const { host, restored, held, letGo, letHeldGo } = await waiting(t);
    letGo();
    host.interrupt(held);
    const { value, ms } = await timed(restored);
    assert.ok(value && ms < ANSWER_MAX_MS, `${ms} ms`);
    assert.equal(host.registry.get(held)!.state, 'interrupting');
    assert.equal((await complete(host, 'flush', { count: 1 })).n, 2);
    letHeldGo();
  });
});
