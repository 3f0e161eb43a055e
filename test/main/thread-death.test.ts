// A thread that dies: its run ends, its sessions come back elsewhere, and nobody waits for ever.

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { CabanaError, Host } from '../../src/main/index.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { closeQuickly, launch, launchWithClock } from './launch.js';

const agents = ['crasher', 'counter', 'ledger', 'general', 'held-save'].map(testAgent);

/** Runs to its end, which must be a good one. */
async function complete<T>(host: Host, id: string, input: unknown = {}): Promise<T> {
  const info = await host.send(id, input).result;
  assert.deepEqual([info.state, info.code, info.error], ['completed', null, null], id);
  return info.output as T;
}

async function house(t: TestContext, threads = 1): Promise<Host> {
  return inhabited(await launch(t, { agents, threads }));
}

async function inhabited(host: Host): Promise<Host> {
  await host.create({ sessionId: 'crasher', agentProfile: 'crasher' });
  await host.create({ sessionId: 'other', agentProfile: 'counter' });
  await host.send('other', { by: 3 }).result;
  await host.send('crasher', {}).result;
  return host;
}

for (const how of ['exit', 'timer', 'rejection'] as const) {
  test(`a run that kills its thread (${how}) ends failed, and every session comes back with its state`, async (t) => {
    const host = await house(t);
    const crashed = await host.send('crasher', { how }).result;
    // Its place is given up a moment later.
    assert.deepEqual([host.interrupt('crasher'), host.interrupt('crasher', crashed.id)], [null, null]);
    assert.deepEqual([crashed.state, crashed.code], ['failed', 'AGENT_CRASHED']);
    const row = await host.registry.snapshot('crasher');
    assert.deepEqual([row?.status, row?.totalTasks, host.registry.get('crasher')?.state], ['error', 2, 'failed']);
    assert.deepEqual(await complete(host, 'other', { by: 1 }), { n: 4 });
    // The run that crashed was not saved; what it appended is in the history.
    assert.deepEqual(await complete(host, 'crasher', {}), { n: 2 });
    const page = await host.messages('crasher');
    const numbers = page?.messages.filter((entry) => entry['role'] === 'assistant').map((entry) => entry['n']);
    assert.deepEqual(numbers, [1, 2, 2]);
    const after = await host.registry.snapshot('crasher');
    assert.deepEqual([after?.status, after?.totalTasks], ['idle', 3]);
  });
}

test("a log that throws is in nobody's way when a thread dies", async (t) => {
  const fail = (): never => assert.fail('the log is broken');
  const log = { fatal: fail, error: fail, warn: fail, info: fail, debug: fail };
  const host = await inhabited(await launch(t, { agents, threads: 1, log }));
  const crashed = await host.send('crasher', { how: 'exit' }).result;
  assert.deepEqual([crashed.state, crashed.code], ['failed', 'AGENT_CRASHED']);
  assert.deepEqual(await complete(host, 'other', { by: 1 }), { n: 4 });
});

for (const [what, edited] of [
  ['cannot be loaded any more', 'export default {'],
  ['has another profile now', "export default { profile: 'another', start: () => ({}), run: () => null }"],
]) {
  test(`sessions whose agent module ${what} wait until it is as it was`, async (t) => {
    const module = join(tempDir(t), 'edited.mjs');
    const text = `export default { profile: 'edited', start: () => ({ n: 0 }), run: ({ state }) => ({ n: ++state.n }) }`;
    writeFileSync(module, text);
    const failures: string[] = [];
    const pass = (): void => {};
    const error = (fields: unknown): void => void failures.push((fields as { err: CabanaError }).err.code);
    const log = { fatal: pass, error, warn: pass, info: pass, debug: pass };
    const host = await inhabited(await launch(t, { agents: [...agents, module], threads: 1, log }));
    await host.create({ sessionId: 'edited', agentProfile: 'edited' });
    assert.deepEqual(await complete(host, 'edited'), { n: 1 });
    writeFileSync(module, edited!);
    await host.send('crasher', { how: 'exit' }).result;
    const waiting = host.send('edited', {});
    await until('two threads could not load it', () => failures.length >= 3);
    assert.deepEqual(failures.slice(0, 3), ['AGENT_CRASHED', 'AGENT_MODULE_INVALID', 'AGENT_MODULE_INVALID']);
    assert.equal(host.registry.get('edited')?.thread, null);
    writeFileSync(module, text);
    const { state, output } = await waiting.result;
    assert.deepEqual([state, output], ['completed', { n: 2 }]);
  });
}

test('a session whose run crashed reads error until its next run starts, also when it is brought up again', async (t) => {
  const host = await house(t);
  await host.send('crasher', { how: 'exit' }).result;
  await until('the thread is replaced', () => host.registry.countByStatus('error') === 1);
  await complete(host, 'other');
  assert.equal(await host.registry.ensure('crasher'), true);
  const row = await host.registry.snapshot('crasher');
  assert.deepEqual([row?.status, row?.errorCode], ['error', 'AGENT_CRASHED']);
});

test("a neighbour's run that shared the thread ends failed too, and its history keeps what it had appended", async (t) => {
  const host = await house(t);
  await host.create({ sessionId: 'ledger', agentProfile: 'ledger' });
  const neighbour = host.send('ledger', { add: [1, 2, 3], wait: true });
  await until('it has appended', () => host.registry.sessionSummary('ledger')?.durableSeq === 4);
  await host.send('crasher', { how: 'exit' }).result;
  const ended = await neighbour.result;
  // Not its fault: it may be sent again.
  assert.deepEqual([ended.state, ended.code], ['failed', 'THREAD_DIED']);
  const { sum, entries } = await complete<{ sum: number; entries: number }>(host, 'ledger');
  assert.deepEqual([sum, entries], [6, 3]);
});

test('runs that were queued behind the crash are run, in order, by the replacement', async (t) => {
  const host = await house(t);
  const crash = host.send('crasher', { how: 'exit' });
  const queued = [host.send('crasher', {}), host.send('crasher', {}), host.send('other', { by: 1 })];
  assert.equal((await crash.result).state, 'failed');
  const outputs = await Promise.all(queued.map(async (run) => ((await run.result).output as { n: number }).n));
  assert.deepEqual(outputs, [2, 3, 4]);
});

test('calls that were pending when the thread died settle, and say that it did', async (t) => {
  const host = await house(t);
  const held = ['held-1', 'held-2'];
  for (const sessionId of held) {
    await host.create({ sessionId, agentProfile: 'held-save' });
    await complete(host, sessionId, { hold: true });
  }
  const flushes: Promise<unknown>[] = [];
  await host.registry.eachLiveAgent((id, agent) => {
    if (!held.includes(id)) return;
    flushes.push(
      agent.flush().then(
        () => 'flushed',
        (error: { code: string }) => error.code,
      ),
    );
  });
  // Asked for first, and never answered by their thread: the crash finds them pending.
  assert.equal((await host.send('crasher', { how: 'exit' }).result).code, 'AGENT_CRASHED');
  assert.deepEqual(await Promise.all(flushes), ['THREAD_DIED', 'THREAD_DIED']);
});

test('a session that somebody asks for in the moment in which its run is lost leaves nothing behind', async (t) => {
  const host = await house(t);
  const trace = join(tempDir(t), 'left');
  await host.create({ sessionId: 'held', agentProfile: 'held-save', params: { trace } });
  await complete(host, 'held', { hold: true });
  const run = host.send('held', { wait: true });
  await until('it waits', () => host.registry.get('held')?.state === 'running');
  let asked: Promise<boolean> | undefined;
  await host.registry.eachLiveAgent((id, agent) => {
    // Before main has dealt with the loss of the run.
    if (id === 'held')
      asked = agent.flush().then(
        () => assert.fail('its save is held'),
        () => host.registry.ensure(id),
      );
  });
  assert.equal((await host.send('crasher', { how: 'exit' }).result).code, 'AGENT_CRASHED');
  assert.equal(await asked, true);
  assert.equal((await run.result).code, 'THREAD_DIED');
  // With the end of its run what was brought up cannot write any more, and leaves its thread.
  await until('it has left', () => existsSync(trace));
  await complete(host, 'held');
});

test('a thread that dies between runs costs only memory: no run fails, no session reads error', async (t) => {
  const host = await house(t);
  assert.equal((await host.send('crasher', { how: 'timer', later: true }).result).state, 'completed');
  await until('it has died', () => host.registry.countByStatus('idle') === 0);
  assert.equal(host.registry.countByStatus('error'), 0);
  assert.deepEqual(await complete(host, 'crasher', {}), { n: 3 });
  assert.deepEqual(await complete(host, 'other', {}), { n: 3 });
});

test('the other threads and their runs are not touched', async (t) => {
  const host = await house(t, 2);
  const crasherThread = host.registry.get('crasher')!.thread;
  const run = host.send('other', { spin: 'check' });
  await until('it spins', () => host.registry.get('other')?.state === 'running');
  assert.notEqual(host.registry.get('other')?.thread, crasherThread);
  assert.equal((await host.send('crasher', { how: 'exit' }).result).code, 'AGENT_CRASHED');
  assert.equal(host.registry.get('other')?.epoch, 1);
  host.interrupt('other');
  assert.equal((await run.result).state, 'interrupted');
  await complete(host, 'crasher');
});

test('a thread that dies again is replaced again, although the first death waits for a session that somebody holds', async (t) => {
  const host = await house(t);
  let letGo!: () => void;
  const held = host.registry.withSession('other', () => new Promise<void>((resolve) => (letGo = resolve)));
  for (const how of ['exit', 'timer']) assert.equal((await host.send('crasher', { how }).result).code, 'AGENT_CRASHED');
  await complete(host, 'crasher');
  letGo();
  await held;
  assert.deepEqual(await complete(host, 'other', { by: 1 }), { n: 4 });
});

test('a host closes, although a death waits for a session that somebody holds', async (t) => {
  const { host, clock } = await launchWithClock(t, { agents, threads: 1 });
  await inhabited(host);
  void host.registry.withSession('other', () => new Promise<never>(() => undefined));
  assert.equal((await host.send('crasher', { how: 'exit' }).result).code, 'AGENT_CRASHED');
  const { unflushed, storageFailed } = await closeQuickly(host, clock);
  assert.deepEqual([unflushed, storageFailed], [[], false]);
});
