// Deletion: whatever a session is doing, it is gone for good.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '../../src/main/index.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { closeQuickly, launch, launchWithClock, outputOf } from './launch.js';

async function assertGone(host: Host, id: string): Promise<void> {
  const { registry } = host;
  assert.equal(registry.exists(id), false);
  assert.equal(registry.get(id), undefined);
  assert.equal(registry.sessionSummary(id), undefined);
  assert.equal(registry.update(id, { name: 'x' }), false);
  assert.equal(await registry.snapshot(id), undefined);
  assert.equal(await host.messages(id), undefined);
  assert.equal(await registry.edit(id, { name: 'x' }), undefined);
  assert.equal(await registry.ensure(id), false);
  assert.equal(await registry.delete(id), false);
  await assert.rejects(host.send(id, {}).accepted, { code: 'SESSION_NOT_FOUND' });
  await assert.rejects(registry.create({ sessionId: id }), { code: 'SESSION_EXISTS' });
  assert.equal(
    (await registry.list()).rows.some((row) => row.id === id),
    false,
  );
  assert.equal((await registry.restoreFromDisk({ n: 100 })).includes(id), false);
}

test('an idle session and a cold one are deleted for good, also for the next host', async (t) => {
  const dataDir = tempDir(t);
  const { host, clock } = await launchWithClock(t, { dataDir, maxIdleAgents: 0 });
  await host.create({ sessionId: 'cold' });
  await host.registry.evictExcessIdle();
  await host.create({ sessionId: 'idle' });
  await host.send('idle', 1).result;
  assert.equal(await host.registry.delete('idle'), true);
  assert.equal(await host.registry.delete('cold'), true);
  assert.equal(await host.registry.delete('nowhere'), false);
  await assert.rejects(host.registry.delete(''), { code: 'SESSION_ID_INVALID' });
  await assertGone(host, 'idle');
  await assertGone(host, 'cold');
  assert.equal(host.registry.countByStatus('idle'), 0);
  await closeQuickly(host, clock);
  const next = await launch(t, { dataDir });
  await assertGone(next, 'idle');
  await assertGone(next, 'cold');
});

test('a running session is interrupted with "Session deleted", and so is all that was queued', async (t) => {
  const dataDir = tempDir(t);
  const host = await launch(t, { dataDir, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  const runs = [host.send('a', { spin: 'check' }), host.send('a', { by: 1 }), host.send('a', { by: 1 })];
  await Promise.all(runs.map((run) => run.accepted));
  await until('it runs', () => host.registry.countByStatus('running') === 1);
  assert.equal(await host.registry.delete('a'), true);
  for (const run of runs) {
    const { state, error, code } = await run.result;
    assert.deepEqual([state, error, code], ['interrupted', 'Session deleted', 'SESSION_DELETED']);
  }
  await assertGone(host, 'a');
  await host.create({ sessionId: 'b', agentProfile: 'counter' });
  assert.deepEqual(outputOf(await host.send('b', { by: 1 }).result), { n: 1 });
  await host.close();
  const next = await launch(t, { dataDir });
  await assertGone(next, 'a');
  assert.equal(await next.run('a', runs[1]!.runId), undefined);
});

test('a session in asynchronous code is told by its signal that it was deleted', async (t) => {
  const host = await launch(t, { threads: 1, agents: ['toolbox', 'general'].map(testAgent) });
  // Many times: its end may be on the way to the disk at the very moment of the deletion.
  for (let round = 0; round < 20; round++) {
    const id = await host.create({ agentProfile: 'toolbox' });
    const run = host.send(id, { do: 'sleep' });
    await until('it runs', () => host.registry.sessionSummary(id)?.durableSeq === 1);
    assert.equal(await host.registry.delete(id), true);
    let over = false;
    run.result.then(
      () => (over = true),
      () => (over = true),
    );
    await until(`its run is over (round ${round})`, () => over, 2000);
    assert.equal((await run.result).error, 'Session deleted');
    await assertGone(host, id);
  }
});

test('a session whose loop never checks is deleted all the same, and nothing it does later brings it back', async (t) => {
  const dataDir = tempDir(t);
  const { host, clock } = await launchWithClock(t, { dataDir });
  await host.create({ sessionId: 'deaf', agentProfile: 'counter' });
  await host.create({ sessionId: 'other', agentProfile: 'counter' });
  const run = host.send('deaf', { by: 1, spin: 'never' });
  const queued = host.send('deaf', { by: 1 });
  await queued.accepted;
  await until('it spins', () => {
    const summary = host.registry.sessionSummary('deaf');
    return summary?.progressLabel === 'spinning' && summary.durableSeq === 3;
  });
  assert.equal(await host.registry.delete('deaf'), true);
  assert.equal(host.registry.countByStatus('running'), 0);
  for (const handle of [run, queued]) {
    const { state, error } = await handle.result;
    assert.deepEqual([state, error], ['interrupted', 'Session deleted']);
  }
  await assertGone(host, 'deaf');
  assert.deepEqual(outputOf(await host.send('other', { by: 2 }).result), { n: 2 });
  await closeQuickly(host, clock);
  const next = await launch(t, { dataDir });
  await assertGone(next, 'deaf');
  assert.deepEqual(outputOf(await next.send('other', {}).result), { n: 2 });
});

test('runs that are interrupted while their session is being deleted end with the one or the other', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'blocker', agentProfile: 'counter' });
  const blocker = host.send('blocker', { spin: 'check' });
  await until('it spins', () => host.registry.countByStatus('running') === 1);
  // The interrupt comes before, with and behind the deletion on their way to the store.
  for (let turns = 0; turns < 12; turns++) {
    const id = await host.create({ agentProfile: 'counter' });
    const runs = [host.send(id, { by: 1 }), host.send(id, { by: 1 })];
    await Promise.all(runs.map((run) => run.accepted));
    const deletion = host.registry.delete(id);
    for (let i = 0; i < turns; i++) await Promise.resolve();
    host.interrupt(id, runs[1]!.runId);
    assert.equal(await deletion, true);
    const [first, second] = await Promise.all(runs.map((run) => run.result));
    assert.deepEqual([first!.state, first!.code], ['interrupted', 'SESSION_DELETED']);
    assert.equal(second!.state, 'interrupted');
    assert.ok(['RUN_INTERRUPTED', 'SESSION_DELETED'].includes(second!.code!), `${turns}: ${second!.code}`);
  }
  host.interrupt('blocker');
  await blocker.result;
});

test('a session is deleted while it is being restored, evicted or sent to', async (t) => {
  const { host } = await launchWithClock(t, { maxIdleAgents: 0 });
  const { registry } = host;
  for (const sessionId of ['restored', 'evicted', 'sent']) await registry.create({ sessionId });
  const evicting = registry.evictExcessIdle();
  assert.equal(await registry.delete('evicted'), true);
  await evicting;
  const restoring = registry.ensure('restored');
  assert.equal(await registry.delete('restored'), true);
  await restoring;
  const handle = host.send('sent', 1);
  assert.equal(await registry.delete('sent'), true);
  const result = await handle.result.catch((error: { code: string }) => error);
  assert.ok(['SESSION_NOT_FOUND', 'SESSION_DELETED', null].includes(result.code), String(result.code));
  for (const id of ['restored', 'evicted', 'sent']) await assertGone(host, id);
  assert.equal(registry.countByStatus('idle') + registry.countByStatus('running'), 0);
});

test('of two deletions at once one is true; those who watched the session are told that it ended', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a' });
  const events = host.subscribe('a');
  const both = await Promise.all([host.registry.delete('a'), host.registry.delete('a')]);
  assert.deepEqual(both.sort(), [false, true]);
  for (;;) if ((await events.next()).done) break;
  await assertGone(host, 'a');
});

test('and so it is while a restore of it waits for a busy thread', async (t) => {
  const { host } = await launchWithClock(t, { threads: 1, maxIdleAgents: 0 });
  const { registry } = host;
  const ids = Array.from({ length: 48 }, (_, k) => `s${k}`);
  for (const sessionId of ids) await host.create({ sessionId });
  await until('they have left memory', async () => {
    await registry.evictExcessIdle();
    return !ids.some((id) => registry.exists(id));
  });
  await host.create({ sessionId: 'blocker', agentProfile: 'counter' });
  const blocker = host.send('blocker', { spin: 'check' });
  await until('it spins', () => registry.countByStatus('running') === 1);
  const turns = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await Promise.resolve();
  };
  for (const [k, id] of ids.entries()) {
    const restored = registry.ensure(id);
    await turns(k % 12);
    const first = registry.delete(id);
    await turns(3 * Math.floor(k / 12));
    const both = await Promise.all([first, registry.delete(id)]);
    assert.deepEqual(both.sort(), [false, true], id);
    assert.equal(await restored, false);
  }
  host.interrupt('blocker');
  await blocker.result;
});

test('what a deleted session has in its agent thread goes too: its slot and its memory are used again', async (t) => {
  const host = await launch(t, { threads: 1, agents: [testAgent('counter')] });
  for (let round = 0; round < 20; round++) {
    const id = await host.create({ agentProfile: 'counter' });
    assert.deepEqual(outputOf(await host.send(id, { by: 1 }).result), { n: 1 });
    assert.equal(host.registry.sessionSummary(id)?.totalTasks, 1);
    assert.equal(await host.registry.delete(id), true);
  }
  await until('the thread has let go', () => host.table.getThread(0, 'sessions') === 0);
});

test('sessions that are deleted while the host flushes are not among those that could not be saved', async (t) => {
  const host = await launch(t, { agents: [testAgent('ledger')], drainMs: 0 });
  const ids = Array.from({ length: 120 }, (_, k) => `s${k}`);
  await Promise.all(ids.map((sessionId) => host.create({ sessionId, agentProfile: 'ledger' })));
  // With unsaved changes.
  for (const { result } of ids.map((id) => host.send(id, { add: [1] })))
    assert.equal((await result).state, 'completed');
  const deletions = ids.map((id) => host.registry.delete(id));
  const report = await host.close();
  const deleted = (await Promise.allSettled(deletions)).filter((end) => end.status === 'fulfilled' && end.value).length;
  assert.ok(deleted > 0, 'some were deleted');
  assert.deepEqual([report.unflushed, report.storageFailed], [[], false]);
});
