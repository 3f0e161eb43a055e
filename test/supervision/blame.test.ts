// Whose fault it is: what an agent leaves behind when it has left memory is nobody's who lives there now, hooks are their
// session's, a full heap is the entered code's, and whatever is thrown ends one thread.

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Host } from '../../src/main/index.js';
import type { Leaves } from '../agents/leftovers.js';
import type { Crash } from '../agents/supervision-act.js';
import { launch } from '../main/launch.js';
import { testAgent, until } from '../support/host.js';
import { complete, ended, gate, hasCounted, house, inhabit, leave, outcome, watch } from './house.js';

/** Sessions that leave something behind leave memory as soon as they are told to. */
function inn(t: TestContext): Promise<Host> {
  const agents = ['leftovers', 'supervision-retry', 'supervision-io'].map(testAgent);
  return launch(t, { agents, threads: 1, maxIdleAgents: 0 });
}

const guest = (host: Host, sessionId: string, leaves?: Leaves): Promise<string> =>
  host.create({ sessionId, agentProfile: 'leftovers', params: leaves ? { leaves } : {} });

describe('an agent that has left memory', () => {
  it('shows nothing in the row of whoever has its place', async (t) => {
    const host = await inn(t);
    await guest(host, 'gone');
    await complete(host, 'gone', { leaves: 'talk' });
    await leave(host, 'gone');
    await guest(host, 'next');
    watch(t, host, 'next');
    // Both have the same row, one after the other: it talks whenever this thread's timers run.
    for (let n = 1; n <= 20; n++) {
      assert.equal(await complete(host, 'next'), n);
      const { totalTasks, progress, progressLabel, name } = host.registry.sessionSummary('next')!;
      assert.deepEqual([totalTasks, progress, progressLabel, name], [n, null, '', null]);
    }
  });

  it('is not heard beside its successor', async (t) => {
    const host = await inn(t);
    await guest(host, 'gone');
    const mayLeave = watch(t, host, 'gone');
    await complete(host, 'gone', { leaves: 'talk' });
    await until('it talks', () => host.registry.sessionSummary('gone')?.name === 'left behind');
    await mayLeave();
    await leave(host, 'gone');
    watch(t, host, 'gone');
    await host.registry.edit('gone', { name: 'by hand' });
    for (let n = 2; n <= 20; n++) assert.equal(await complete(host, 'gone'), n);
    assert.equal(host.registry.sessionSummary('gone')!.name, 'by hand');
    assert.equal((await host.registry.snapshot('gone'))!.name, 'by hand');
  });

  it('and takes its thread down is the fault of nobody who lives there', async (t) => {
    const host = await inn(t);
    const { path, open } = gate(t);
    await inhabit(host, 'io', 'retry');
    for (const id of ['io', 'retry']) watch(t, host, id);
    await guest(host, 'gone');
    const { path: fuse, open: light } = gate(t);
    await complete(host, 'gone', { leaves: 'bomb', fuse });
    const runs = ['io', 'retry'].map((id) => host.send(id, { count: 1, how: 'wait', until: path }));
    await leave(host, 'gone');
    await until('both wait', () => hasCounted(host, 'io', 2) && hasCounted(host, 'retry', 2));
    light();
    assert.deepEqual(outcome(await runs[0]!.result), ['failed', 'THREAD_DIED']);
    open();
    assert.deepEqual(outcome(await runs[1]!.result), ['completed', null]);
    await complete(host, 'io');
    for (const id of ['io', 'retry']) assert.equal(host.registry.sessionSummary(id)?.crashes, 0, id);
  });
});

describe('a hook that takes its thread down', () => {
  for (const hook of ['stop', 'save'] as const) {
    it(`(${hook}) is its session's fault, which is quarantined in the end`, async (t) => {
      const host = await inn(t);
      await inhabit(host, 'retry');
      await guest(host, 'guilty', hook);
      for (let strikes = 1; strikes <= 3; strikes++) {
        const { path, open } = gate(t);
        const waits = host.send('retry', { count: 1, how: 'wait', until: path });
        await until('it waits', () => host.registry.get('retry')?.state === 'running');
        // It comes up, does its run, and leaves.
        const [state] = await ended(host, 'guilty', {});
        await leave(host, 'guilty');
        assert.notEqual(state, 'refused', `${strikes}`);
        open();
        assert.deepEqual(outcome(await waits.result), ['completed', null]);
      }
      assert.equal((await ended(host, 'guilty', {}))[1], 'SESSION_QUARANTINED');
      await complete(host, 'retry');
    });
  }

  it('(an abort listener) is the fault of the run that was told to stop', async (t) => {
    const host = await inn(t);
    await inhabit(host, 'retry');
    await guest(host, 'guilty');
    const { path, open } = gate(t);
    const waits = host.send('retry', { count: 1, how: 'wait', until: path });
    const guilty = host.send('guilty', { leaves: 'abort' });
    await until('one waits', () => hasCounted(host, 'retry', 2));
    await until('the other listens', () => host.registry.sessionSummary('guilty')?.progressLabel === 'listens');
    host.interrupt('guilty');
    assert.deepEqual(outcome(await guilty.result), ['failed', 'AGENT_CRASHED']);
    open();
    assert.deepEqual(outcome(await waits.result), ['completed', null]);
  });
});

it('a save that is thenable is awaited like a promise', async (t) => {
  const host = await inn(t);
  await guest(host, 'a', 'thenable');
  for (let n = 1; n <= 3; n++) {
    assert.equal(await complete(host, 'a'), n);
    await leave(host, 'a');
  }
});

describe('a full heap', () => {
  it('is the fault of the io run that filled it, not of the cpu run beside it', async (t) => {
    const host = await house(t, { threads: 1, threadHeapMb: 48 });
    await inhabit(host, 'cpu', 'io');
    const { path } = gate(t);
    const innocent = host.send('cpu', { count: 1, how: 'wait', until: path });
    await until('it waits', () => hasCounted(host, 'cpu', 2));
    assert.deepEqual(await ended(host, 'io', { crash: 'heap-now' }), ['failed', 'AGENT_OUT_OF_MEMORY']);
    assert.deepEqual(outcome(await innocent.result), ['failed', 'THREAD_DIED']);
  });

  it('is the fault of the only run there, though it has awaited something before', async (t) => {
    const host = await house(t, { threads: 1, threadHeapMb: 48 });
    await inhabit(host, 'io');
    for (let strikes = 1; strikes <= 3; strikes++) {
      assert.deepEqual(await ended(host, 'io', { crash: 'heap' }), ['failed', 'AGENT_OUT_OF_MEMORY']);
    }
    assert.equal((await ended(host, 'io', {}))[1], 'SESSION_QUARANTINED');
  });
});

it('a thread that hangs in a hook is not the fault of the runs beside it', async (t) => {
  const host = await inn(t);
  await inhabit(host, 'retry');
  const { path, open } = gate(t);
  await guest(host, 'hangs', 'hang');
  await complete(host, 'hangs');
  const waits = host.send('retry', { count: 1, how: 'wait', until: path });
  await until('it waits', () => hasCounted(host, 'retry', 2));
  assert.deepEqual(await host.registry.evictExcessIdle(), []);
  open();
  assert.deepEqual(outcome(await waits.result), ['completed', null]);
});

describe('whatever is thrown', () => {
  for (const what of [
    'undefined',
    'null',
    'circle',
    'frozen-circle',
    'alien-circle',
    'no-prototype',
  ] satisfies Crash[]) {
    it(`(${what}) ends the run with AGENT_CRASHED, and the thread is replaced`, async (t) => {
      const host = await house(t, { threads: 1 });
      await inhabit(host, 'io', 'cpu');
      assert.deepEqual(await ended(host, 'io', { crash: what }), ['failed', 'AGENT_CRASHED']);
      for (const id of ['io', 'cpu']) await complete(host, id, { count: 1 });
    });
  }
});
