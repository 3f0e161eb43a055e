// Who runs where and when: no thread idles while an admitted run waits, nobody is kept waiting by somebody else's queue,
// and a thread that is held in slices serves others in between.

import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import type { Host, RunHandle } from '../../src/main/index.js';
import type { ActAnswer } from '../agents/supervision-act.js';
import { until } from '../support/host.js';
import { complete, counts, gate, house, inhabit, isRunning, occupy, outcome } from './house.js';

const threadOf = (host: Host, id: string): number => host.registry.get(id)!.thread!;

/** Sessions of this kind that live on thread 0, and on thread 1. */
async function settle(host: Host, kind: string, count: number): Promise<[string[], string[]]> {
  const ids = Array.from({ length: count }, (_, i) => `${kind}${i + 1}`);
  await inhabit(host, ...ids);
  const on = (no: number): string[] => ids.filter((id) => threadOf(host, id) === no);
  return [on(0), on(1)];
}

const threadsOf = async (runs: readonly RunHandle[]): Promise<Set<number>> => {
  const answers = await Promise.all(runs.map(({ result }) => result));
  for (const info of answers) assert.deepEqual(outcome(info), ['completed', null]);
  return new Set(answers.map((info) => (info.output as ActAnswer).threadId));
};

describe('placement', () => {
  it('a session stays on its thread while that is free', async (t) => {
    const host = await house(t, { threads: 2 });
    const [here, there] = await settle(host, 'cpu', 6);
    const homes = new Map([...here, ...there].map((id) => [id, threadOf(host, id)]));
    for (let round = 0; round < 5; round++) for (const id of homes.keys()) await complete(host, id, { count: 1 });
    for (const [id, no] of homes) {
      assert.equal(threadOf(host, id), no);
      assert.equal(host.registry.get(id)!.epoch, 1);
    }
  });

  it('a session that somebody has to themself keeps no thread from the others', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu1', 'cpu2');
    let release!: () => void;
    const held = host.registry.withSession('cpu1', () => new Promise<void>((resolve) => (release = resolve)));
    const waiting = host.send('cpu1', { count: 1 });
    await waiting.accepted;
    await complete(host, 'cpu2', { count: 1 });
    assert.equal((await host.run('cpu1', waiting.runId))?.state, 'queued');
    release();
    await held;
    assert.deepEqual(outcome(await waiting.result), ['completed', null]);
  });

  it('a session moves, with its state and a new epoch, when its thread is busy and another is free', async (t) => {
    const host = await house(t, { threads: 2 });
    const [[busy, moves, ...others]] = await settle(host, 'cpu', 6);
    await complete(host, moves!, { count: 2 });
    host.registry.update(moves!, { model: 'set by hand' });
    const { run, letGo } = await occupy(t, host, busy!);
    const moved = await complete(host, moves!, { count: 1 });
    assert.equal((await host.registry.snapshot(moves!))?.model, 'set by hand');
    assert.deepEqual([moved.n, threadOf(host, moves!), host.registry.get(moves!)!.epoch], [3, 1, 2]);
    assert.equal(host.registry.sessionSummary(moves!)!.migrations, 1);
    for (const id of others) assert.equal(threadOf(host, id), 0, 'who has nothing to do stays');
    letGo();
    await run.result;
    assert.deepEqual(await counts(host, moves!), [1, 2, 3]);
  });

  it('no thread idles when all the work is for sessions of the other', async (t) => {
    const host = await house(t, { threads: 2 });
    const [busy] = await settle(host, 'cpu', 8);
    await Promise.all(busy.map((id) => complete(host, id, { count: 1 })));
    const gates = new Map<string, () => void>();
    const runs = busy.flatMap((id) =>
      Array.from({ length: 5 }, () => {
        const { path, open } = gate(t);
        const run = host.send(id, { count: 1, how: 'spin', until: path });
        gates.set(run.runId, open);
        return run;
      }),
    );
    // Whichever run ends, as long as two sessions have any: soon there is one on each thread again.
    const left = new Map(busy.map((id) => [id, 5]));
    for (let step = 0; [...left.values()].filter((runs) => runs > 0).length >= 2; step++) {
      await until('each thread has a run', () => host.threads().every(({ runId }) => gates.has(runId ?? '')));
      const { runId, sessionId } = host.threads()[step % 2]!;
      gates.get(runId!)!();
      gates.delete(runId!);
      left.set(sessionId!, left.get(sessionId!)! - 1);
    }
    for (const open of gates.values()) open();
    assert.equal((await threadsOf(runs)).size, 2, 'both threads worked');
    for (const id of busy) assert.deepEqual(await counts(host, id), [1, 2, 3, 4, 5, 6]);
  });

  it('a session that is saved only on leaving memory moves as well, as soon as its thread yields', async (t) => {
    const host = await house(t, { threads: 2 });
    const [[busy]] = await settle(host, 'cpu', 2);
    await inhabit(host, 'flush1', 'flush2');
    const dirty = ['flush1', 'flush2'].find((id) => threadOf(host, id) === 0)!;
    await complete(host, dirty, { count: 2 });
    const { path, open } = gate(t);
    const run = host.send(busy!, { how: 'slices', until: path });
    await until('the thread is held', () => isRunning(host, busy!));
    const moved = await complete(host, dirty, { count: 1 });
    assert.deepEqual([moved.n, threadOf(host, dirty)], [3, 1]);
    assert.equal(isRunning(host, busy!), true, 'the thread was held all the while');
    open();
    await run.result;
    assert.deepEqual(await counts(host, dirty), [1, 2, 3]);
  });

  it('and one whose thread never yields runs there when it is free', async (t) => {
    const host = await house(t, { threads: 2 });
    const [[busy]] = await settle(host, 'cpu', 2);
    await inhabit(host, 'flush1', 'flush2');
    const dirty = ['flush1', 'flush2'].find((id) => threadOf(host, id) === 0)!;
    await complete(host, dirty, { count: 2 });
    const { run, letGo } = await occupy(t, host, busy!);
    const waits = host.send(dirty, { count: 1 });
    await waits.accepted;
    letGo();
    await run.result;
    const info = await waits.result;
    assert.deepEqual([info.state, (info.output as ActAnswer).n], ['completed', 3]);
  });
});

describe('io agents', () => {
  it('never hold a cpu slot: any number of them waits while cpu runs come and go', async (t) => {
    const host = await house(t, { threads: 2 });
    const { path, open } = gate(t);
    const ids = Array.from({ length: 12 }, (_, i) => `io${i + 1}`);
    await inhabit(host, ...ids, 'cpu1', 'cpu2');
    const waiting = ids.map((id) => host.send(id, { count: 1, how: 'wait', until: path }));
    await until('all wait', () => ids.every((id) => isRunning(host, id)));
    assert.ok(host.threads().every(({ state }) => state === 'idle'));
    for (let i = 0; i < 3; i++) {
      const both = [await occupy(t, host, 'cpu1'), await occupy(t, host, 'cpu2')];
      for (const { letGo } of both) letGo();
      assert.equal((await threadsOf(both.map(({ run }) => run))).size, 2);
    }
    assert.ok(ids.every((id) => isRunning(host, id)));
    open();
    for (const { result } of waiting) assert.deepEqual(outcome(await result), ['completed', null]);
  });

  it('and flushes, and control calls, are served while a long cpu run gives its thread up in slices', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu', 'io', 'flush');
    await complete(host, 'flush', { count: 1 });
    const { path, open } = gate(t);
    const long = host.send('cpu', { count: 1, how: 'slices', until: path });
    await until('it runs', () => isRunning(host, 'cpu'));
    await complete(host, 'io', { count: 1 });
    assert.equal(await host.registry.ensure('io'), true);
    const flushes: Promise<void>[] = [];
    await host.registry.eachLiveAgent(async (id, agent) => {
      if (id !== 'cpu') flushes.push(agent.flush());
      await Promise.all(flushes);
    });
    assert.equal(flushes.length, 2);
    assert.equal(isRunning(host, 'cpu'), true);
    open();
    assert.deepEqual(outcome(await long.result), ['completed', null]);
  });
});

describe('the line', () => {
  /** The names of the runs in the order in which their agents began them, when all are over. */
  const beginnings = async (runs: readonly (readonly [string, RunHandle])[]): Promise<string[]> => {
    const begun = await Promise.all(
      runs.map(async ([name, { result }]) => {
        const info = await result;
        assert.deepEqual(outcome(info), ['completed', null], name);
        return { name, at: BigInt((info.output as ActAnswer).begunAt) };
      }),
    );
    return begun.sort((a, b) => (a.at < b.at ? -1 : 1)).map(({ name }) => name);
  };

  it("a session with two hundred queued runs does not delay another's first", async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu1', 'cpu2', 'cpu3');
    const { run, letGo } = await occupy(t, host, 'cpu1');
    const many = Array.from({ length: 200 }, () => ['cpu1', host.send('cpu1', { count: 1 })] as const);
    await Promise.all(many.map(([, { accepted }]) => accepted));
    const firsts = ['cpu2', 'cpu3'].map((id) => [id, host.send(id, { count: 1 })] as const);
    await Promise.all(firsts.map(([, { accepted }]) => accepted));
    letGo();
    await run.result;
    const order = await beginnings([...many, ...firsts]);
    for (const id of ['cpu2', 'cpu3']) assert.ok(order.indexOf(id) <= 4, `${id} was number ${order.indexOf(id)}`);
    assert.deepEqual(
      await counts(host, 'cpu1'),
      Array.from({ length: 200 }, (_, i) => i + 1),
    );
  });

  it('higher priorities run first, equal ones in the order of sending, and a session keeps its own order', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu1', 'cpu2', 'cpu3', 'cpu4', 'cpu5');
    const { run, letGo } = await occupy(t, host, 'cpu1');
    const send = (id: string, priority?: number) =>
      [id, host.send(id, { count: 1 }, priority === undefined ? {} : { priority })] as const;
    const runs = [send('cpu2', -5), send('cpu3'), send('cpu4', 10), send('cpu5'), send('cpu2', 10)];
    await Promise.all(runs.map(([, { accepted }]) => accepted));
    letGo();
    await run.result;
    assert.deepEqual(await beginnings(runs), ['cpu4', 'cpu3', 'cpu5', 'cpu2', 'cpu2']);
    await assert.rejects(host.send('cpu1', {}, { priority: 11 }).accepted, { code: 'INVALID_ARGUMENT' });
  });

  it('a session has the place of the run that is next now, when one that was before it is interrupted', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'cpu1', 'cpu2', 'cpu3');
    const { run, letGo } = await occupy(t, host, 'cpu1');
    const high = host.send('cpu2', {}, { priority: 10 });
    const low = host.send('cpu2', {}, { priority: -10 });
    const middle = host.send('cpu3', {}, { priority: 5 });
    await Promise.all([high, low, middle].map(({ accepted }) => accepted));
    assert.equal(host.interrupt('cpu2', high.runId), high.runId);
    letGo();
    await run.result;
    const order = await beginnings([
      ['low', low],
      ['middle', middle],
    ]);
    assert.deepEqual(order, ['middle', 'low']);
  });

  it('of the two loads neither keeps the other from running, whatever the limit', async (t) => {
    const host = await house(t, { threads: 2, maxRunningAgents: 1 });
    await inhabit(host, 'io1', 'io2', 'cpu1', 'cpu2');
    const { path, open } = gate(t);
    const first = host.send('io1', { how: 'wait', until: path });
    await until('it runs', () => isRunning(host, 'io1'));
    const many = ['io1', 'io2', 'cpu1'].flatMap((id) =>
      Array.from({ length: 30 }, () => [id, host.send(id, {})] as const),
    );
    const last = ['cpu2', host.send('cpu2', {})] as const;
    await Promise.all([...many, last].map(([, { accepted }]) => accepted));
    open();
    await first.result;
    const order = await beginnings([...many, last]);
    for (const id of ['io1', 'io2', 'cpu1', 'cpu2']) assert.ok(order.indexOf(id) <= 4, `${id}: ${order.indexOf(id)}`);
    // They take turns to the end, not one after the other.
    const lastOf = (id: string): number => order.lastIndexOf(id);
    for (const id of ['io1', 'io2', 'cpu1']) assert.ok(lastOf(id) >= order.length / 2, `${id}: ${lastOf(id)}`);
  });

  it('no more runs begin than maxRunningAgents says; the others wait in line, and begin when there is room', async (t) => {
    const host = await house(t, { threads: 2, maxRunningAgents: 1 });
    await inhabit(host, 'io1', 'io2', 'cpu1');
    const { path, open } = gate(t);
    const first = host.send('io1', { how: 'wait', until: path });
    await until('it runs', () => isRunning(host, 'io1'));
    const others = ['io2', 'cpu1'].map((id) => host.send(id, { count: 1 }));
    await Promise.all(others.map(({ accepted }) => accepted));
    assert.deepEqual([host.registry.runningFull(), host.registry.countByStatus('running')], [true, 1]);
    open();
    for (const { result } of [first, ...others]) assert.deepEqual(outcome(await result), ['completed', null]);
    assert.equal(host.registry.runningFull(), false);
  });
});

test('what a thread does, and since when, is told without asking it', async (t) => {
  const host = await house(t, { threads: 1 });
  await inhabit(host, 'cpu', 'io');
  const { run, letGo } = await occupy(t, host, 'cpu');
  await until('it shows', () => host.threads()[0]!.runId === run.runId);
  const shown = host.threads()[0]!;
  assert.deepEqual([shown.state, shown.sessionId, shown.sessions], ['busy', 'cpu', 2]);
  assert.ok(Date.parse(shown.since!) <= Date.now());
  letGo();
  await run.result;
  assert.deepEqual([host.threads()[0]!.sessionId, host.threads()[0]!.runId], [null, null]);
});

test('what befell the threads of a number is counted, also of those before', async (t) => {
  const host = await house(t, { threads: 2 });
  const counted = () => host.threads().map(({ crashes, interrupts, migrations }) => [crashes, interrupts, migrations]);
  const [[busy, moves]] = await settle(host, 'cpu', 4);
  const [[leaves]] = await settle(host, 'flush', 4);
  assert.deepEqual(counted(), [
    [0, 0, 0],
    [0, 0, 0],
  ]);
  // Of the one everything is on disk; the other is saved by its thread first, which serves it in between.
  await complete(host, leaves!, { count: 1 });
  const { path } = gate(t);
  const run = host.send(busy!, { how: 'slices', until: path });
  await until('it has its thread', () => isRunning(host, busy!));
  for (const id of [moves!, leaves!]) {
    await complete(host, id, { count: 1 });
    assert.equal(threadOf(host, id), 1, id);
  }
  assert.equal(host.interrupt(busy!), run.runId);
  assert.deepEqual(outcome(await run.result), ['interrupted', 'RUN_INTERRUPTED']);
  assert.deepEqual(outcome(await host.send(busy!, { crash: 'exit' }).result), ['failed', 'AGENT_CRASHED']);
  await until('the thread is replaced', () => host.threads().every(({ state }) => state === 'idle'));
  assert.deepEqual(counted(), [
    [1, 1, 2],
    [0, 0, 0],
  ]);
});

test('sessions with much to do, as many as threads, leave a share to the later runs of the others', async (t) => {
  const host = await house(t, { threads: 2 });
  await inhabit(host, 'cpu1', 'cpu2', 'cpu3');
  const busy = ['cpu1', 'cpu2'].flatMap((id) =>
    Array.from({ length: 60 }, () => host.send(id, { how: 'spin', ms: 2 })),
  );
  const few = Array.from({ length: 4 }, () => host.send('cpu3', { how: 'spin', ms: 2 }));
  const lastOf = async (runs: readonly RunHandle[]): Promise<number> =>
    Math.max(...(await Promise.all(runs.map(async ({ result }) => Date.parse((await result).startedAt!)))));
  const lastFew = await lastOf(few);
  const begun = await Promise.all(busy.map(async ({ result }) => Date.parse((await result).startedAt!)));
  const after = begun.filter((at) => at > lastFew).length;
  assert.ok(after >= 20, `${after} of ${begun.length} began after the last of the few`);
});
