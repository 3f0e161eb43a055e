// A host that is closed and one that is started on the same folder: nothing of what was told is lost.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createHost, type ShutdownReport } from '../../src/main/index.js';
import { encodeEntry } from '../../src/protocol/codec.js';
import { MAILBOX_MAX_RUNS } from '../../src/protocol/limits.js';
import { inputEntry } from '../../src/protocol/outcome.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import type { WriteOp } from '../../src/worker/store/store.js';
import { create, record, write } from '../store/records.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch, outputOf } from './launch.js';

interface LedgerAnswer {
  sum: number;
  entries: number;
  tail: [string, number][] | null;
  savedSum: number | null;
}

const agents = ['counter', 'ledger', 'general'].map(testAgent);

test('states, histories, rows and finished runs are there again after a restart', async (t) => {
  const dataDir = tempDir(t);
  const first = await launch(t, { dataDir, agents });
  for (const sessionId of ['a', 'b']) await first.create({ sessionId, agentProfile: 'counter', name: sessionId });
  const done = await first.send('a', { by: 5 }).result;
  const failed = await first.send('b', { by: 2, throws: 'no' }).result;
  const before = [await first.messages('a'), await first.messages('b'), (await first.registry.list()).rows];
  const report = await first.close();
  assert.deepEqual([report.live, report.flushed, report.unflushed, report.storageFailed], [2, 2, [], false]);
  const second = await launch(t, { dataDir, agents });
  const after = [await second.messages('a'), await second.messages('b')];
  assert.deepEqual(after, before.slice(0, 2));
  const rows = (await second.registry.list()).rows;
  const shown = (row: (typeof rows)[number]): unknown[] => [row.id, row.name, row.status, row.error, row.totalTasks];
  assert.deepEqual(rows.map(shown), (before[2] as typeof rows).map(shown));
  assert.deepEqual(await second.run('a', done.id), done);
  assert.deepEqual(await second.run('b', failed.id), failed);
  assert.deepEqual(outputOf(await second.send('a', { by: 1 }).result), { n: 6 });
  assert.deepEqual(outputOf(await second.send('b', {}).result), { n: 2 });
});

test('queued runs that never started are run at the next start, in their order', async (t) => {
  const dataDir = tempDir(t);
  const first = await launch(t, { dataDir, agents, threads: 1, drainMs: 0 });
  for (const sessionId of ['a', 'b']) await first.create({ sessionId, agentProfile: 'counter' });
  const running = first.send('a', { spin: 'check' });
  const queued = [first.send('a', { by: 1 }), first.send('b', { by: 10 }), first.send('a', { by: 2 })];
  await Promise.all(queued.map((run) => run.accepted));
  await until('it runs', () => first.registry.countByStatus('running') === 1);
  const closing = first.close();
  await assert.rejects(first.send('a', {}).accepted, { code: 'HOST_DRAINING' });
  await assert.rejects(first.create({}), { code: 'HOST_DRAINING' });
  await closing;
  const cut = await running.result;
  assert.deepEqual([cut.state, cut.code], ['interrupted', 'HOST_DRAINING']);
  for (const run of queued) await assert.rejects(run.result, { code: 'HOST_CLOSED' });
  const second = await launch(t, { dataDir, agents, threads: 1 });
  const last = second.send('a', { by: 3 });
  const outputs: unknown[] = [];
  for (const [i, id] of ['a', 'b', 'a'].entries()) {
    const { runId } = queued[i]!;
    const info = (await second.pending(id, runId)) ?? (await second.run(id, runId));
    outputs.push([info?.state, info?.output]);
  }
  assert.deepEqual(outputs, [
    ['completed', { n: 1 }],
    ['completed', { n: 10 }],
    ['completed', { n: 3 }],
  ]);
  assert.deepEqual(outputOf(await last.result), { n: 6 });
  // Run once, and no more.
  const page = await second.messages('a');
  assert.equal(page?.messages.filter((entry) => entry['role'] === 'assistant').length, 6);
});

test('queued runs keep their timeout and their priority over a restart', async (t) => {
  const dataDir = tempDir(t);
  const first = await launch(t, { dataDir, agents, threads: 1, drainMs: 0 });
  for (const sessionId of ['holder', 'limited', 'low', 'high'])
    await first.create({ sessionId, agentProfile: 'counter' });
  const running = first.send('holder', { spin: 'check' });
  await until('it runs', () => first.registry.countByStatus('running') === 1);
  // It would spin for ever, and the others wait behind it: nothing but its own timeout ends it.
  const queued = [
    first.send('limited', { spin: 'check' }, { runTimeoutMs: 50, priority: 10 }),
    first.send('low', { by: 1 }),
    first.send('high', { by: 1 }, { priority: 1 }),
  ];
  await Promise.all(queued.map((run) => run.accepted));
  await Promise.all([first.close(), running.result, ...queued.map((run) => assert.rejects(run.result))]);
  const ended: unknown[] = [];
  // Before any of them begins, so that the end of none is missed.
  const second = await createHost({ agents, dataDir, threads: 1, logLevel: 'silent' }, (host) => {
    for (const [i, id] of ['limited', 'low', 'high'].entries()) {
      const { runId } = queued[i]!;
      void host.pending(id, runId)!.then(({ state, code }) => ended.push([id, state, code]));
    }
  });
  t.after(() => second.close());
  await until('all have ended', () => ended.length === 3);
  assert.deepEqual(ended, [
    ['limited', 'interrupted', 'RUN_TIMEOUT'],
    ['high', 'completed', null],
    ['low', 'completed', null],
  ]);
});

test('a host that is closed before it begins them leaves the runs of an earlier process to the next one', async (t) => {
  const dataDir = tempDir(t);
  const store = new SqliteStore(join(dataDir, 'cabana.db'));
  await create(store, record('a', { agentProfile: 'counter' }));
  const input = encodeEntry(inputEntry({ by: 1 }));
  await write(store, { kind: 'accept', sessionId: 'a', runId: 'r', input, at: Date.now() });
  await store.close();
  const options = { agents, dataDir, threads: 1, logLevel: 'silent' } as const;
  let report: ShutdownReport | undefined;
  const first = await createHost(options, async (host) => {
    report = await host.close();
  });
  assert.deepEqual(report?.interrupted, 0);
  assert.equal(await first.close(), report);
  const second = await launch(t, { dataDir, agents, threads: 1 });
  const info = (await second.pending('a', 'r')) ?? (await second.run('a', 'r'));
  assert.deepEqual([info?.state, info && outputOf(info)], ['completed', { n: 1 }]);
});

test('what waits in a session that was quarantined is not run by the next host', async (t) => {
  const dataDir = tempDir(t);
  const store = new SqliteStore(join(dataDir, 'cabana.db'));
  await create(store, record('a', { agentProfile: 'counter' }));
  const input = encodeEntry(inputEntry({ by: 1 }));
  for (const runId of ['r1', 'r2', 'r3'])
    await write(store, { kind: 'accept', sessionId: 'a', runId, input, at: Date.now() });
  await write(store, { kind: 'update', sessionId: 'a', fields: { quarantine: 'it did it again' }, at: Date.now() });
  await store.close();
  const host = await launch(t, { dataDir, agents, threads: 1 });
  for (const runId of ['r1', 'r2', 'r3']) {
    const info = (await host.pending('a', runId)) ?? (await host.run('a', runId));
    assert.deepEqual([info?.state, info?.code], ['failed', 'SESSION_QUARANTINED'], runId);
  }
});

test('more runs than a mailbox holds, accepted by an earlier process, are all run, and the bound is back after them', async (t) => {
  const dataDir = tempDir(t);
  // As after a crash while one run was executed, or about to be, and a full mailbox behind it.
  const store = new SqliteStore(join(dataDir, 'cabana.db'));
  await create(store, record('a', { agentProfile: 'counter' }));
  const input = encodeEntry(inputEntry({ by: 1 }));
  const runIds = Array.from({ length: MAILBOX_MAX_RUNS + 2 }, (_, k) => `r${k}`);
  const accepts = runIds.map((runId): WriteOp => ({ kind: 'accept', sessionId: 'a', runId, input, at: Date.now() }));
  for (const result of await store.commit(accepts)) assert.ok('ok' in result);
  await store.close();
  const host = await launch(t, { dataDir, agents, threads: 1 });
  await assert.rejects(host.send('a', {}).accepted, { code: 'MAILBOX_FULL' });
  const ends = await Promise.all(runIds.map(async (id) => (await host.pending('a', id)) ?? (await host.run('a', id))));
  assert.deepEqual(
    ends.map((end) => end?.output),
    runIds.map((_, k) => ({ n: k + 1 })),
  );
  assert.deepEqual(outputOf(await host.send('a', { by: 1 }).result), { n: MAILBOX_MAX_RUNS + 3 });
});

test('runs of a profile that is not loaded wait on disk until it is', async (t) => {
  const dataDir = tempDir(t);
  const database = join(dataDir, 'cabana.db');
  const store = new SqliteStore(database);
  await create(store, record('a', { agentProfile: 'counter' }), record('b', { agentProfile: 'general' }));
  const input = encodeEntry(inputEntry({ by: 4 }));
  for (const sessionId of ['a', 'b'])
    await write(store, { kind: 'accept', sessionId, runId: 'r', input, at: Date.now() });
  await store.close();
  const without = await launch(t, { dataDir, agents: [testAgent('general')] });
  assert.equal((await without.pending('b', 'r'))?.state, 'completed');
  assert.equal((await without.run('a', 'r'))?.state, 'queued');
  const again = without.send('a', { by: 4 }, { runId: 'r' });
  assert.equal((await again.accepted).state, 'queued');
  await assert.rejects(again.result, { code: 'UNKNOWN_PROFILE' });
  await without.close();
  const host = await launch(t, { dataDir, agents });
  assert.deepEqual(((await host.pending('a', 'r')) ?? (await host.run('a', 'r')))?.output, { n: 4 });
});

test('a state that is saved on leaving memory comes back without a tail after an orderly close', async (t) => {
  const dataDir = tempDir(t);
  const first = await launch(t, { dataDir, agents });
  await first.create({ sessionId: 'a', agentProfile: 'ledger' });
  assert.equal(outputOf<LedgerAnswer>(await first.send('a', { add: [1, 2, 3] }).result).tail, null);
  await first.close();
  const second = await launch(t, { dataDir, agents });
  const answer = outputOf<LedgerAnswer>(await second.send('a', {}).result);
  assert.deepEqual(answer, { sum: 6, entries: 3, tail: [], savedSum: 6 });
});

test('after a crash a state is what was saved and the right tail, which has no input that is yet to be run', async (t) => {
  const host = await launch(t, { dataDir: tempDir(t), agents, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'ledger' });
  await host.send('a', { add: [1, 2] }).result;
  await host.registry.eachLiveAgent((_id, agent) => agent.flush());
  await host.send('a', { add: [10] }).result;
  const crash = host.send('a', { add: [20, 30], exit: true });
  const next = host.send('a', {});
  assert.equal((await crash.result).code, 'AGENT_CRASHED');
  const answer = outputOf<LedgerAnswer>(await next.result);
  assert.deepEqual([answer.savedSum, answer.sum, answer.entries], [3, 63, 5]);
  // Seqs 1 to 4 are in the snapshot: the first input, two amounts, the outcome. The input of `next` is not in the tail.
  assert.deepEqual(
    answer.tail?.map(([role]) => role),
    ['user', 'amount', 'run', 'user', 'amount', 'amount', 'run'],
  );
  const page = await host.messages('a');
  const seqs = page?.messages.map((entry) => entry['seq']);
  assert.deepEqual(
    seqs,
    Array.from({ length: seqs!.length }, (_, i) => i + 1),
  );
});

test('a flush in the midst of a run agrees with the history: no entry is ahead of the state', async (t) => {
  const host = await launch(t, { dataDir: tempDir(t), agents, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'ledger', params: { saveMs: 60 } });
  const go = join(tempDir(t), 'go');
  const pause = { at: 10, until: go };
  const run = host.send('a', { add: Array.from({ length: 40 }, () => 1), everyMs: 5, pause, exit: true });
  await until('it is in the midst', () => host.registry.sessionSummary('a')?.durableSeq === 11);
  const flushed = host.registry.eachLiveAgent((_id, agent) => agent.flush().catch(() => undefined));
  // It goes on while the agent saves.
  writeFileSync(go, '');
  await flushed;
  assert.equal((await run.result).code, 'AGENT_CRASHED');
  const answer = outputOf<LedgerAnswer>(await host.send('a', {}).result);
  assert.deepEqual([answer.sum, answer.entries], [40, 40]);
});

test('a session that cannot be stopped in time loses no entry, and reads interrupted at the next start', async (t) => {
  const dataDir = tempDir(t);
  const first = await launch(t, { dataDir, agents, threads: 1, drainMs: 0, flushDeadlineMs: 100 });
  await first.create({ sessionId: 'a', agentProfile: 'counter' });
  const run = first.send('a', { entries: 500, by: 1, spin: 'never' });
  await until('it spins, and what it appended is on disk', () => {
    const summary = first.registry.sessionSummary('a');
    return summary?.progressLabel === 'spinning' && summary.durableSeq === 502;
  });
  const report = await first.close();
  assert.deepEqual([report.unflushed, report.flushed, report.interrupted], [['a'], 0, 1]);
  const second = await launch(t, { dataDir, agents, threads: 1 });
  const info = await second.run('a', run.runId);
  assert.equal(info?.state, 'interrupted');
  assert.deepEqual(outputOf(await second.send('a', {}).result), { n: 1 });
  const row = await second.registry.snapshot('a');
  assert.equal(row?.status, 'idle');
});

test('the newest sessions of each source are brought up at start', async (t) => {
  const dataDir = tempDir(t);
  const first = await launch(t, { dataDir, agents });
  for (let i = 0; i < 3; i++) {
    await first.create({ sessionId: `c${i}`, source: 'cron', createdAt: `2026-01-0${i + 1}T00:00:00Z` });
    await first.create({ sessionId: `m${i}`, createdAt: `2026-01-0${i + 1}T00:00:00Z` });
  }
  await first.close();
  const second = await launch(t, { dataDir, agents, restoreSessions: 2 });
  await until('they are up', () => second.registry.countByStatus('idle') === 4);
  assert.deepEqual(
    ['c0', 'c1', 'c2', 'm0', 'm1', 'm2'].map((id) => second.registry.exists(id)),
    [false, true, true, false, true, true],
  );
});

test('a second host on the same folder is refused while the first is open', async (t) => {
  const dataDir = tempDir(t);
  const first = await launch(t, { dataDir, agents, threads: 1 });
  await assert.rejects(launch(t, { dataDir, agents, threads: 1 }), { code: 'DATA_DIR_IN_USE' });
  await first.close();
  const second = await launch(t, { dataDir, agents, threads: 1 });
  assert.equal(second.ready, true);
});

test('calls that overlap the end of the host are answered, or are told that it is closed', async (t) => {
  const said: string[] = [];
  const say = (_: object, message: string): void => void said.push(message);
  const log = { fatal: say, error: say, warn: say, info: () => undefined, debug: () => undefined };
  const host = await launch(t, { threads: 2, log });
  await host.create({ sessionId: 'a', agentProfile: 'general' });
  const calls: (() => Promise<unknown>)[] = [
    () => host.registry.list({ q: String(Math.random()) }),
    () => host.registry.snapshot('a'),
    () => host.registry.edit('a', { pinned: true }),
    () => host.registry.ensure('cold'),
    () => host.registry.delete('nowhere'),
    () => host.messages('a'),
    () => host.run('a', 'unknown'),
    () => host.create({ agentProfile: 'general' }),
    () => host.send('a', null).result,
  ];
  const codes = new Set<unknown>();
  const callAll = (): Promise<unknown> =>
    Promise.all(calls.map((call) => call().catch((error: { code?: string }) => codes.add(error.code))));
  let closed = false;
  const closing = host.close().finally(() => (closed = true));
  while (!closed) await Promise.all([callAll(), turn()]);
  await closing;
  await callAll();
  codes.delete('HOST_DRAINING');
  assert.deepEqual([...codes], ['HOST_CLOSED']);
  assert.deepEqual(said, []);
});
