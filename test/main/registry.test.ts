// The session registry, method by method, as DESIGN section 6 has them. (list: list.test.ts; delete: delete.test.ts)

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Host } from '../../src/main/index.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch, launchWithClock, outputOf } from './launch.js';

const AGENTS = ['counter', 'general', 'restorer', 'toolbox'].map(testAgent);
const HOUR_MS = 60 * 60 * 1000;

/** Out of memory and onto the disk, all that is idle; the host's maxIdleAgents is 0. */
async function cool(host: Host): Promise<string[]> {
  return host.registry.evictExcessIdle();
}

test('create makes a live, idle session and returns its id', async (t) => {
  const { host, clock } = await launchWithClock(t);
  assert.equal(await host.registry.create({ sessionId: 'a', agentProfile: 'counter', name: 'Anna' }), 'a');
  const entry = host.registry.get('a');
  assert.equal(entry?.state, 'idle');
  assert.equal(entry?.agentProfile, 'counter');
  const row = await host.registry.snapshot('a');
  assert.equal(row?.createdAt, new Date(clock.now()).toISOString());
  assert.equal(row?.name, 'Anna');
  assert.equal(row?.status, 'idle');
  const made = await host.registry.create({});
  assert.match(made, /^[0-9a-f]{16}$/);
  assert.equal((await host.registry.snapshot(made))?.agentProfile, 'general');
});

test('create refuses what is wrong, and leaves nothing of it', async (t) => {
  const host = await launch(t, { agents: AGENTS, threads: 1 });
  const { registry } = host;
  for (const sessionId of ['', '.', '../up', 'a b', 'a/b', '-a', 'ä', 'x'.repeat(129), 7 as never]) {
    await assert.rejects(registry.create({ sessionId }), { code: 'SESSION_ID_INVALID' }, String(sessionId));
  }
  await assert.rejects(registry.create({ sessionId: 'a', agentProfile: 'nobody' }), { code: 'UNKNOWN_PROFILE' });
  await assert.rejects(registry.create({ sessionId: 'a', params: [] as never }), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(registry.create({ sessionId: 'a', createdAt: 'yesterday' }), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(registry.create({ sessionId: 'a', name: 'n'.repeat(513) }), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(registry.create({ sessionId: 'b', agentProfile: 'restorer', params: { failStart: true } }), {
    code: 'RESTORE_FAILED',
  });
  assert.equal(registry.exists('a'), false);
  assert.equal(registry.exists('b'), false);
  assert.equal(registry.countByStatus('idle'), 0);
  assert.deepEqual((await registry.list()).rows, []);
});

test('create refuses an id that exists, in memory or on disk, and of two at once takes one', async (t) => {
  const { host } = await launchWithClock(t, { maxIdleAgents: 0 });
  const { registry } = host;
  const both = await Promise.allSettled([registry.create({ sessionId: 'a' }), registry.create({ sessionId: 'a' })]);
  assert.deepEqual(both.map((result) => result.status).sort(), ['fulfilled', 'rejected']);
  await assert.rejects(registry.create({ sessionId: 'a' }), { code: 'SESSION_EXISTS' });
  assert.deepEqual(await cool(host), ['a']);
  await assert.rejects(registry.create({ sessionId: 'a' }), { code: 'SESSION_EXISTS' });
  assert.equal(await registry.ensure('a'), true);
});

test('ensure is true for a live session, restores a cold one, and is false for one that exists nowhere', async (t) => {
  const { host } = await launchWithClock(t, { maxIdleAgents: 0 });
  const { registry } = host;
  await registry.create({ sessionId: 'a' });
  assert.equal(await registry.ensure('a'), true);
  assert.equal(registry.get('a')?.epoch, 1);
  await cool(host);
  assert.equal(registry.exists('a'), false);
  assert.equal(await registry.ensure('a'), true);
  assert.equal(registry.get('a')?.epoch, 2);
  assert.equal(await registry.ensure('nowhere'), false);
  assert.equal(registry.exists('nowhere'), false);
  assert.equal(registry.get('nowhere'), undefined);
  assert.equal(registry.countByStatus('idle'), 1);
  await assert.rejects(registry.ensure(''), { code: 'SESSION_ID_INVALID' });
});

test('a thousand callers of ensure at once cause one restore', async (t) => {
  const { host } = await launchWithClock(t, { agents: AGENTS, maxIdleAgents: 0 });
  await host.create({ sessionId: 'a', agentProfile: 'restorer' });
  await cool(host);
  const answers = await Promise.all(Array.from({ length: 1000 }, () => host.registry.ensure('a')));
  assert.deepEqual([...new Set(answers)], [true]);
  assert.equal(host.registry.get('a')?.epoch, 2);
  assert.deepEqual(outputOf(await host.send('a', {}).result), { restores: 1 });
  const page = await host.messages('a');
  assert.equal(page?.messages.filter((entry) => entry['role'] === 'restored').length, 1);
});

test('a failed restore rejects every caller with the same error, leaves nothing behind, and is tried again', async (t) => {
  const { host } = await launchWithClock(t, { agents: AGENTS, maxIdleAgents: 0 });
  const { registry } = host;
  const failWhile = join(tempDir(t), 'fail');
  await host.create({ sessionId: 'a', agentProfile: 'restorer', params: { failWhile } });
  await cool(host);
  writeFileSync(failWhile, '');
  const before = ['idle', 'running', 'error'].map((status) => registry.countByStatus(status as 'idle'));
  const calls = Array.from({ length: 100 }, () => registry.ensure('a'));
  const results = await Promise.allSettled(calls);
  const reasons = new Set(results.map((result) => (result.status === 'rejected' ? (result.reason as Error) : null)));
  assert.equal(reasons.size, 1);
  const [reason] = [...reasons];
  assert.equal((reason as { code?: string } | null)?.code, 'RESTORE_FAILED');
  assert.match(String(reason?.message), /not today/);
  assert.equal(registry.exists('a'), false);
  assert.equal(registry.get('a'), undefined);
  assert.equal(registry.sessionSummary('a'), undefined);
  const after = ['idle', 'running', 'error'].map((status) => registry.countByStatus(status as 'idle'));
  assert.deepEqual(after, before);
  await assert.rejects(registry.ensure('a'), { code: 'RESTORE_FAILED' });
  const refused = await host.send('a', {}).result;
  assert.deepEqual([refused.state, refused.code], ['failed', 'RESTORE_FAILED']);
  rmSync(failWhile);
  assert.equal(await registry.ensure('a'), true);
  assert.deepEqual(outputOf(await host.send('a', {}).result), { restores: 1 });
});

test("one session's slow restore does not delay another's, nor is it seen half built", async (t) => {
  const { host } = await launchWithClock(t, { agents: AGENTS, maxIdleAgents: 0, threads: 1 });
  const { registry } = host;
  const waitFor = join(tempDir(t), 'go');
  writeFileSync(waitFor, '');
  await host.create({ sessionId: 'slow', agentProfile: 'restorer', params: { waitFor } });
  await host.create({ sessionId: 'quick', agentProfile: 'restorer' });
  await cool(host);
  rmSync(waitFor);
  let restored = false;
  const slow = registry.ensure('slow').then((live) => {
    restored = true;
    return live;
  });
  const run = host.send('slow', {});
  await until('it is restoring', () => registry.get('slow')?.state === 'restoring');
  assert.equal(await registry.ensure('quick'), true);
  assert.equal((await host.send('quick', {}).result).state, 'completed');
  assert.equal(restored, false);
  assert.equal(registry.sessionSummary('slow'), undefined);
  assert.equal((await registry.snapshot('slow'))?.status, 'idle');
  writeFileSync(waitFor, '');
  assert.equal(await slow, true);
  assert.deepEqual(outputOf(await run.result), { restores: 1 });
});

test('restoreFromDisk brings up the newest n sessions of each source, and skips those that are live', async (t) => {
  const { host } = await launchWithClock(t, { maxIdleAgents: 0 });
  const { registry } = host;
  for (let day = 1; day <= 4; day++) {
    for (const source of ['cron', 'manual', 'channel', null]) {
      const createdAt = `2026-03-0${day}T00:00:00Z`;
      await registry.create({ sessionId: `${source ?? 'none'}-${day}`, source, createdAt });
    }
  }
  assert.equal((await cool(host)).length, 16);
  await registry.ensure('cron-4');
  const restored = await registry.restoreFromDisk({ n: 2 });
  // No source is the source manual.
  const newest = ['channel-4', 'channel-3', 'cron-3', 'manual-4', 'none-4'];
  assert.deepEqual(restored.sort(), newest.sort());
  assert.equal(registry.get('cron-4')?.epoch, 2);
  assert.equal(registry.get('channel-4')?.epoch, 2);
  assert.equal(registry.exists('channel-2'), false);
  assert.deepEqual(await registry.restoreFromDisk({ n: 0 }), []);
  await assert.rejects(registry.restoreFromDisk({ n: -1 }), { code: 'INVALID_ARGUMENT' });
  await registry.restoreFromDisk();
  assert.equal(registry.countByStatus('idle'), 4 + 4 + 5);
});

test('get gives a copy that changes nothing, and undefined for a session that is not in memory', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a' });
  const entry = host.registry.get('a')!;
  entry.state = 'failed';
  entry.fields.name = 'changed';
  assert.equal(host.registry.get('a')?.state, 'idle');
  assert.deepEqual(host.registry.get('a')?.fields, {});
  assert.equal((await host.registry.snapshot('a'))?.name, null);
  assert.equal(host.registry.get('b'), undefined);
});

test('update merges runtime fields and stamps updatedAt; an unknown session is not updated', async (t) => {
  const { host, clock } = await launchWithClock(t, { threads: 1 });
  const { registry } = host;
  await registry.create({ sessionId: 'a', name: 'stored' });
  clock.advance(5000);
  assert.equal(registry.update('a', { model: 'one', costSource: 'api' }), true);
  clock.advance(5000);
  assert.equal(registry.update('a', { model: 'two' }), true);
  const now = new Date(clock.now()).toISOString();
  assert.deepEqual(registry.get('a')?.fields, { model: 'two', costSource: 'api' });
  assert.equal(registry.get('a')?.updatedAt, now);
  const row = await registry.snapshot('a');
  assert.deepEqual([row?.name, row?.model, row?.costSource, row?.updatedAt], ['stored', 'two', 'api', now]);
  assert.equal(registry.update('b', { model: 'x' }), false);
  assert.equal(registry.exists('b'), false);
});

test('snapshot equals the row of the list: idle, running, failed and cold; undefined if it is not on disk', async (t) => {
  const { host } = await launchWithClock(t, { agents: AGENTS, maxIdleAgents: 0 });
  const { registry } = host;
  await registry.create({ sessionId: 'cold', name: 'c', source: 'cron', pinned: true });
  await cool(host);
  await registry.create({ sessionId: 'idle', agentProfile: 'counter' });
  await registry.create({ sessionId: 'failed', agentProfile: 'counter' });
  await registry.create({ sessionId: 'running', agentProfile: 'toolbox' });
  assert.equal((await host.send('failed', { throws: 'no' }).result).state, 'failed');
  const run = host.send('running', { do: 'progress', fraction: 0.5 });
  await until('it runs', () => registry.sessionSummary('running')?.progress === 0.5);
  const { rows } = await registry.list();
  assert.deepEqual(rows.map((row) => [row.id, row.status]).sort(), [
    ['cold', 'idle'],
    ['failed', 'error'],
    ['idle', 'idle'],
    ['running', 'running'],
  ]);
  for (const row of rows) assert.deepEqual(await registry.snapshot(row.id), row);
  assert.equal(await registry.snapshot('nowhere'), undefined);
  host.interrupt('running');
  await run.result;
});

test('sessionSummary shows the live figures of a session in memory, and undefined otherwise', async (t) => {
  const { host } = await launchWithClock(t, { agents: AGENTS, maxIdleAgents: 0 });
  const { registry } = host;
  await registry.create({ sessionId: 'a', agentProfile: 'toolbox', name: 'Al' });
  await host.send('a', { do: 'report', figures: { costUsd: 0.25 } }).result;
  const run = host.send('a', { do: 'progress', fraction: 0.25, label: 'a quarter' });
  await until('it runs', () => registry.sessionSummary('a')?.progress === 0.25);
  const summary = registry.sessionSummary('a')!;
  assert.deepEqual([summary.status, summary.name, summary.runId], ['running', 'Al', run.runId]);
  assert.deepEqual([summary.totalTasks, summary.totalCost, summary.progressLabel], [1, 0.25, 'a quarter']);
  host.interrupt('a');
  await run.result;
  const after = registry.sessionSummary('a')!;
  assert.deepEqual([after.status, after.progress, after.totalTasks, after.runId], ['idle', null, 2, null]);
  assert.deepEqual([after.historySeq, after.durableSeq], [4, 4]);
  await registry.edit('a', { name: null });
  assert.equal(registry.sessionSummary('a')?.name, null);
  await cool(host);
  assert.equal(registry.sessionSummary('a'), undefined);
  assert.equal(registry.sessionSummary('nowhere'), undefined);
});

test('cronCount counts the sessions on disk whose source is cron, live or not, without the deleted', async (t) => {
  const { host } = await launchWithClock(t, { maxIdleAgents: 0 });
  const { registry } = host;
  for (let i = 0; i < 4; i++) await registry.create({ sessionId: `c${i}`, source: 'cron' });
  await registry.create({ sessionId: 'm' });
  await registry.create({ sessionId: 's', source: 'system' });
  await cool(host);
  await registry.ensure('c0');
  assert.equal(await registry.cronCount(), 4);
  await registry.delete('c1');
  assert.equal(await registry.cronCount(), 3);
});

test('countByStatus answers while every thread spins, and runningFull compares with the limit', async (t) => {
  const { host } = await launchWithClock(t, { maxRunningAgents: 2, maxIdleAgents: 7 });
  const { registry } = host;
  for (const sessionId of ['a', 'b', 'c', 'd']) await registry.create({ sessionId, agentProfile: 'counter' });
  assert.deepEqual([registry.maxRunningAgents, registry.maxIdleAgents, registry.runningFull()], [2, 7, false]);
  assert.equal((await host.send('d', { throws: 'no' }).result).state, 'failed');
  const runs = ['a', 'b'].map((id) => host.send(id, { spin: 'check' }));
  await until('both run', () => registry.countByStatus('running') === 2);
  assert.equal(registry.countByStatus('idle'), 1);
  assert.equal(registry.countByStatus('error'), 1);
  assert.equal(registry.runningFull(), true);
  host.interrupt('a');
  host.interrupt('b');
  await Promise.all(runs.map((run) => run.result));
  await until('they are idle', () => registry.countByStatus('idle') === 3 && !registry.runningFull());
  assert.equal(registry.countByStatus('running'), 0);
});

test('withSession gives exclusive access: no restore, run or deletion comes between; unknown gives undefined', async (t) => {
  const host = await launch(t);
  const { registry } = host;
  await registry.create({ sessionId: 'a' });
  const order: string[] = [];
  let release!: () => void;
  const held = new Promise<void>((resolve) => (release = resolve));
  const first = registry.withSession('a', async (session) => {
    order.push(`first ${session.state}`);
    await held;
    order.push(`still ${session.state}`);
    return 1;
  });
  const second = registry.withSession('a', () => order.push('second'));
  const run = host.send('a', {});
  await run.accepted;
  await registry.create({ sessionId: 'b' });
  assert.equal((await host.send('b', {}).result).state, 'completed');
  assert.deepEqual(order, ['first idle']);
  assert.equal((await host.run('a', run.runId))?.state, 'queued');
  release();
  assert.equal(await first, 1);
  await second;
  assert.deepEqual(order, ['first idle', 'still idle', 'second']);
  assert.equal((await run.result).state, 'completed');
  assert.equal(await registry.withSession('nowhere', () => 1), undefined);
  await assert.rejects(
    registry.withSession('a', () => Promise.reject(new Error('mine'))),
    /mine/,
  );
  assert.equal((await host.send('a', {}).result).state, 'completed');
});

test('cleanupStale releases what was idle for longer than a day, and never what is in use', async (t) => {
  const { host, clock } = await launchWithClock(t);
  const { registry } = host;
  for (const sessionId of ['stale', 'watched', 'running', 'queued', 'young']) {
    await registry.create({ sessionId, agentProfile: 'counter' });
  }
  await host.send('stale', { by: 3 }).result;
  const watching = host.subscribe('watched');
  const running = host.send('running', { sleepMs: 1_000_000 });
  const waiting = host.send('queued', { sleepMs: 1_000_000 });
  const queued = host.send('queued', { by: 1 });
  await queued.accepted;
  await until('both run', () => registry.countByStatus('running') === 2);
  clock.sleep(23 * HOUR_MS);
  assert.deepEqual(await registry.cleanupStale(), []);
  await registry.ensure('young');
  // The timer's sweep, a minute later at most.
  clock.sleep(HOUR_MS);
  clock.advance(60_000);
  await until('it has left', () => !registry.exists('stale'));
  for (const id of ['watched', 'running', 'queued', 'young']) assert.equal(registry.get(id)?.epoch, 1, id);
  await watching.return();
  assert.deepEqual(await registry.cleanupStale(), ['watched']);
  for (const id of ['running', 'queued']) host.interrupt(id);
  await Promise.all([running.result, waiting.result, queued.result]);
  assert.deepEqual(outputOf(await host.send('stale', {}).result), { n: 3 });
  assert.equal(registry.get('stale')?.epoch, 2);
});

test('evictExcessIdle releases the least recently used beyond the limit, durable first, and they come back', async (t) => {
  const { host, clock } = await launchWithClock(t, { maxIdleAgents: 2 });
  const { registry } = host;
  for (let i = 0; i < 5; i++) {
    await registry.create({ sessionId: `s${i}`, agentProfile: 'counter' });
    await host.send(`s${i}`, { by: i + 1 }).result;
  }
  await registry.ensure('s0');
  assert.deepEqual((await registry.evictExcessIdle()).sort(), ['s1', 's2', 's3']);
  assert.deepEqual(
    ['s0', 's1', 's2', 's3', 's4'].map((id) => registry.exists(id)),
    [true, false, false, false, true],
  );
  assert.deepEqual(await registry.evictExcessIdle(), []);
  for (let i = 0; i < 5; i++) assert.deepEqual(outputOf(await host.send(`s${i}`, {}).result), { n: i + 1 });
  // By itself, on a timer.
  clock.advance(1000);
  await until('the excess is gone', () => registry.countByStatus('idle') === 2);
});

test('a session that cannot be saved stays in memory, and is not tried again at once', async (t) => {
  const { host } = await launchWithClock(t, { maxIdleAgents: 0, agents: [...AGENTS, testAgent('unsaveable')] });
  await host.create({ sessionId: 'a', agentProfile: 'unsaveable' });
  assert.deepEqual(outputOf(await host.send('a', { broken: true }).result), { n: 1 });
  assert.deepEqual(await cool(host), []);
  assert.equal(host.registry.get('a')?.state, 'idle');
  assert.deepEqual(outputOf(await host.send('a', { broken: false }).result), { n: 2 });
});

test('eachLiveAgent visits the agents in memory, undisturbed by what changes meanwhile, without a lock', async (t) => {
  const { host } = await launchWithClock(t, { maxIdleAgents: 0 });
  const { registry } = host;
  await registry.create({ sessionId: 'cold' });
  await cool(host);
  for (const sessionId of ['a', 'b', 'c']) await registry.create({ sessionId, agentProfile: 'counter' });
  const seen: string[] = [];
  await registry.eachLiveAgent(async (id, agent, thread) => {
    seen.push(id);
    assert.equal(agent.sessionId, id);
    assert.equal(thread.no, registry.get(id)?.thread);
    // Would wait for ever if it ran under the session's lock.
    // (Not of b, which is deleted meanwhile.)
    if (id !== 'b') assert.equal((await host.send(id, { by: 1 }).result).state, 'completed');
    if (id === 'a') {
      await registry.create({ sessionId: 'new' });
      await registry.delete('b');
    }
  });
  assert.deepEqual(seen.sort(), ['a', 'b', 'c']);
  // Created while every thread may have been busy: then it is on disk until it is used.
  assert.equal(await registry.ensure('new'), true);
  assert.equal(registry.exists('b'), false);
  const failure = registry.eachLiveAgent((id) => (id === 'a' ? Promise.reject(new Error('mine')) : undefined));
  await assert.rejects(failure, (error: AggregateError) => error.errors.length === 1);
});

test('sourceOf: missing is manual, system is an old name for setup', async (t) => {
  const host = await launch(t, { threads: 1 });
  const sources = [{}, { source: null }, { source: '' }, { source: 'system' }, { source: 'cron' }, { source: 'own' }];
  assert.deepEqual(
    sources.map((record) => host.registry.sourceOf(record)),
    ['manual', 'manual', 'manual', 'setup', 'cron', 'own'],
  );
});

test('a host that closes waits for an agent that is about to leave memory', async (t) => {
  const dir = tempDir(t);
  const [agent, saved, dataDir] = ['slow.mjs', 'saved', 'data'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(
    agent,
    `import { existsSync } from 'node:fs';
     import { setTimeout as pause } from 'node:timers/promises';
     export default {
       profile: 'slow',
       saveWhen: 'flush',
       start: () => ({ n: 0 }),
       run: (ctx) => ++ctx.state.n,
       save: async (ctx) => {
         while (ctx.state.n === 1 && !existsSync(${JSON.stringify(saved)})) await pause(2);
         return ctx.state;
       },
     };`,
  );
  const options = { dataDir, agents: [agent], maxIdleAgents: 0 };
  // Time stands still: no timer of the host's evicts it first.
  const { host } = await launchWithClock(t, options);
  await host.create({ sessionId: 'a', agentProfile: 'slow' });
  assert.equal((await host.send('a', null).result).output, 1);
  const evicted = host.registry.evictExcessIdle();
  await until('it is being saved', () => host.registry.get('a')?.state === 'flushing');
  const closed = host.close();
  writeFileSync(saved, '');
  const { live, unflushed } = await closed;
  assert.deepEqual([live, unflushed, await evicted], [1, [], ['a']]);
  const next = await launch(t, options);
  assert.equal((await next.send('a', null).result).output, 2);
});
