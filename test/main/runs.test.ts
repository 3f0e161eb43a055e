// Runs: accepted, ordered, idempotent, interrupted, ended. (What a thread's death does to them: thread-death.test.ts)

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Host, RunHandle, RunInfo, SessionEvent } from '../../src/main/index.js';
import type { Overlap } from '../agents/overlap.js';
import { MAILBOX_MAX_RUNS } from '../../src/protocol/limits.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch, outputOf } from './launch.js';

const agents = ['counter', 'general', 'toolbox', 'overlap-io', 'overlap-cpu'].map(testAgent);

async function counterHost(t: TestContext, threads = 1): Promise<Host> {
  const host = await launch(t, { agents, threads });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  return host;
}

const running = (host: Host, n = 1) => until(`${n} run`, () => host.registry.countByStatus('running') === n);

test('the runs of a session are executed one at a time, in the order of sending', async (t) => {
  const host = await counterHost(t, 2);
  const runs = Array.from({ length: 100 }, () => host.send('a', { by: 1 }));
  const outputs = await Promise.all(runs.map(async (run) => outputOf<{ n: number }>(await run.result).n));
  assert.deepEqual(
    outputs,
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  const page = await host.messages('a', { limit: 1000 });
  assert.equal(page?.messages.length, 300);
  assert.equal(page?.hasMore, false);
});

test('a run is accepted when its input is on disk, before it runs', async (t) => {
  const host = await counterHost(t);
  const first = host.send('a', { spin: 'check' });
  await running(host);
  const second = host.send('a', { by: 1 });
  assert.equal((await second.accepted).state, 'queued');
  const page = await host.messages('a');
  assert.deepEqual(page?.messages.at(-1)?.['content'], { by: 1 });
  assert.equal(host.registry.get('a')?.queued, 1);
  host.interrupt('a');
  assert.equal((await first.result).state, 'interrupted');
  assert.equal((await second.result).state, 'completed');
});

test('a run id sent again is the same run: in flight, when it is over, and after a restart', async (t) => {
  const dataDir = tempDir(t);
  const host = await launch(t, { agents, dataDir, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  const sent = Array.from({ length: 10 }, () => host.send('a', { by: 1 }, { runId: 'once' }));
  const results = await Promise.all(sent.map((run) => run.result));
  for (const result of results) assert.deepEqual(result, results[0]);
  const again = host.send('a', { by: 1 }, { runId: 'once' });
  assert.deepEqual(await again.accepted, results[0]);
  assert.deepEqual(await again.result, results[0]);
  const busy = host.send('a', { spin: 'check' });
  await running(host);
  const whileBusy = host.send('a', { by: 1 }, { runId: 'once', whenBusy: 'reject' });
  assert.deepEqual(await whileBusy.result, results[0]);
  host.interrupt('a');
  await busy.result;
  await host.close();
  const next = await launch(t, { agents, dataDir, threads: 1 });
  assert.deepEqual(await next.send('a', { by: 1 }, { runId: 'once' }).result, results[0]);
  assert.deepEqual(outputOf(await next.send('a', {}).result), { n: 1 });
});

test('a run that is over reads as such while its id is sent again', async (t) => {
  const host = await counterHost(t);
  const first = await host.send('a', { by: 1 }, { runId: 'r' }).result;
  const again = host.send('a', { by: 1 }, { runId: 'r' });
  assert.deepEqual(await host.run('a', 'r'), first);
  assert.deepEqual(await again.result, first);
});

test('a run is told to run first, then what it emits, then its end, however short it is', async (t) => {
  const host = await launch(t, { agents, threads: 1 });
  const ids = Array.from({ length: 8 }, (_, k) => `short-${k}`);
  await Promise.all(ids.map((sessionId) => host.create({ sessionId, agentProfile: 'counter' })));
  const told = new Map<string, number>();
  await Promise.all(
    ids.map(async (id) => {
      for (let i = 0; i < 150; i++) {
        const states: string[] = [];
        for await (const event of host.send(id, { by: 1 }).events)
          if (event.type === 'run') states.push(event.run.state);
        told.set(states.join(' '), (told.get(states.join(' ')) ?? 0) + 1);
      }
    }),
  );
  assert.deepEqual([...told], [['running completed', 8 * 150]]);
});

test('an agent reads the end of its history while inputs are accepted for its session', async (t) => {
  const host = await launch(t, { agents, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'toolbox' });
  const ROUNDS = 200;
  const reading = host.send('a', { do: 'reread', rounds: ROUNDS });
  const over = reading.result.then(() => true);
  const runs: RunHandle[] = [];
  for (let sent = 0; sent < MAILBOX_MAX_RUNS && !(await Promise.race([over, pause(1, false)])); sent++) {
    runs.push(host.send('a', { do: 'plain' }));
  }
  assert.ok(outputOf<number>(await reading.result) >= ROUNDS);
  for (const { result } of runs) assert.equal((await result).state, 'completed');
});

test('when_busy reject refuses a busy session, and takes an idle one', async (t) => {
  const host = await counterHost(t);
  const first = host.send('a', { spin: 'check' }, { whenBusy: 'reject' });
  await running(host);
  const second = host.send('a', {}, { whenBusy: 'reject' });
  await assert.rejects(second.accepted, { code: 'SESSION_BUSY' });
  await assert.rejects(second.result, { code: 'SESSION_BUSY' });
  host.interrupt('a');
  await first.result;
  await until('it is idle', () => host.registry.get('a')?.runId === null);
  assert.equal((await host.send('a', {}, { whenBusy: 'reject' }).result).state, 'completed');
});

test('when_busy interrupt stops the current run and takes its place', async (t) => {
  const host = await counterHost(t);
  const first = host.send('a', { by: 1, spin: 'check' });
  await until('it has counted', () => (host.registry.sessionSummary('a')?.historySeq ?? 0) >= 2);
  const second = host.send('a', { by: 1 }, { whenBusy: 'interrupt' });
  const { state, error } = await first.result;
  assert.deepEqual([state, error], ['interrupted', 'Superseded by newer input']);
  assert.deepEqual(outputOf(await second.result), { n: 2 });
});

test('a full mailbox refuses, and takes again when there is room', async (t) => {
  const host = await counterHost(t);
  const first = host.send('a', { spin: 'check' });
  await running(host);
  const queued = Array.from({ length: MAILBOX_MAX_RUNS }, () => host.send('a', {}));
  await assert.rejects(host.send('a', {}).accepted, { code: 'MAILBOX_FULL' });
  await Promise.all(queued.map((run) => run.accepted));
  assert.equal(host.registry.get('a')?.queued, MAILBOX_MAX_RUNS);
  assert.equal(host.interrupt('a', queued[5]!.runId), queued[5]!.runId);
  const late = host.send('a', { by: 1 });
  await late.accepted;
  host.interrupt('a');
  await first.result;
  assert.deepEqual(outputOf(await late.result), { n: 1 });
  assert.equal((await queued[5]!.result).state, 'interrupted');
});

test('a run of a session that exists nowhere, or with an ill-formed id, is refused', async (t) => {
  const host = await counterHost(t);
  const codes = async (run: { accepted: Promise<unknown>; result: Promise<unknown> }) =>
    (await Promise.allSettled([run.accepted, run.result])).map(
      (r) => r.status === 'rejected' && (r.reason as { code: string }).code,
    );
  assert.deepEqual(await codes(host.send('b', {})), ['SESSION_NOT_FOUND', 'SESSION_NOT_FOUND']);
  assert.deepEqual(await codes(host.send('../b', {})), ['SESSION_ID_INVALID', 'SESSION_ID_INVALID']);
  assert.deepEqual(await codes(host.send('a', {}, { runId: 'a b' })), ['RUN_ID_INVALID', 'RUN_ID_INVALID']);
  assert.deepEqual(await codes(host.send('a', 'x'.repeat(4 * 1024 * 1024))), [
    'PAYLOAD_TOO_LARGE',
    'PAYLOAD_TOO_LARGE',
  ]);
  assert.equal(host.registry.exists('b'), false);
  assert.deepEqual((await host.messages('a'))?.messages, []);
  assert.equal((await host.send('a', { note: 'x'.repeat(4 * 1024 * 1024 - 100) }).result).state, 'completed');
});

test('an agent that throws fails its run, with its message, and lives on', async (t) => {
  const host = await counterHost(t);
  const failed = await host.send('a', { by: 2, throws: 'it broke' }).result;
  assert.deepEqual(
    [failed.state, failed.error, failed.code, failed.output],
    ['failed', 'it broke', 'AGENT_ERROR', null],
  );
  assert.ok(Date.parse(failed.startedAt!) <= Date.parse(failed.endedAt!));
  assert.deepEqual(await host.run('a', failed.id), failed);
  assert.equal(await host.run('a', 'unknown'), undefined);
  assert.deepEqual(outputOf(await host.send('a', {}).result), { n: 2 });
});

async function toolbox(t: TestContext): Promise<{ host: Host; use: (input: unknown) => Promise<RunInfo> }> {
  const host = await launch(t, { agents, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'toolbox' });
  return { host, use: (input) => host.send('a', input).result };
}

test('an output that cannot be encoded, or is too large, fails the run', async (t) => {
  const { use } = await toolbox(t);
  for (const what of ['symbol', 'cycle']) {
    const info = await use({ do: what });
    assert.deepEqual([info.state, info.code], ['failed', 'VALUE_NOT_ENCODABLE'], what);
  }
  const huge = await use({ do: 'huge' });
  assert.deepEqual([huge.state, huge.code], ['failed', 'PAYLOAD_TOO_LARGE']);
  assert.equal((await use({ do: 'badEntry' })).code, 'ENTRY_INVALID');
  assert.equal((await use({ do: 'plain' })).state, 'completed');
});

test('run may be a function, an async function, or a generator of either kind', async (t) => {
  const { host, use } = await toolbox(t);
  assert.equal((await use({ do: 'plain' })).output, 'plain');
  assert.equal((await use({ do: 'async' })).output, 'awaited');
  for (const [kind, output] of [
    ['generator', 'generated'],
    ['asyncGenerator', 'generated asynchronously'],
    ['laterGenerator', 'generated'],
  ]) {
    const run = host.send('a', { do: kind });
    const events: unknown[] = [];
    for await (const event of run.events) events.push(event.type === 'event' ? event.data : event.type);
    assert.deepEqual(events, ['run', { step: 1 }, { step: 2 }, 'run'], kind);
    assert.equal((await run.result).output, output);
  }
});

test('inputs arrive as they were sent', async (t) => {
  const { use } = await toolbox(t);
  const inputs: unknown[] = [
    null,
    0,
    -1.5,
    '',
    'ü€😀',
    true,
    [],
    [1, [2]],
    {},
    { a: { b: [null] } },
    new Date(0),
    new Uint8Array([1, 2]),
  ];
  for (const value of inputs) {
    const { value: seen } = outputOf<{ value: unknown }>(await use({ do: 'echo', value }));
    if (value instanceof Uint8Array) assert.deepEqual(new Uint8Array(seen as Uint8Array), value);
    else assert.deepEqual(seen, value);
  }
  assert.equal(outputOf<{ type: string }>(await use({ do: 'echo' })).type, 'undefined');
});

test('what emit sends reaches subscribers, in order, between the start and the end of the run', async (t) => {
  const { host } = await toolbox(t);
  const stream = host.subscribe('a');
  const events = Array.from({ length: 300 }, (_, i) => ({ i }));
  const run = host.send('a', { do: 'emit', events });
  const seen: SessionEvent[] = [];
  for await (const event of stream) {
    seen.push(event);
    const ended = seen.some((each) => each.type === 'run' && each.run.state === 'completed');
    if (ended && seen.some((each) => each.type === 'entry' && each.entry.role === 'run')) break;
  }
  const data = seen.flatMap((event) => (event.type === 'event' ? [event.data] : []));
  assert.deepEqual(data, events);
  assert.ok(seen.every((event) => event.type !== 'event' || event.runId === run.runId));
  const entries = seen.flatMap((event) => (event.type === 'entry' ? [event.entry.role] : []));
  assert.deepEqual(entries, ['user', 'run']);
  await until('nobody watches', () => host.registry.get('a')?.watchers === 0);
});

test('report adds costs up and shows the rest; rename names the session for good', async (t) => {
  const dataDir = tempDir(t);
  const host = await launch(t, { agents, dataDir, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'toolbox', name: 'old' });
  const use = (input: unknown): Promise<RunInfo> => host.send('a', input).result;
  await use({ do: 'report', figures: { costUsd: 0.5, model: 'one', costSource: 'api', subModelOptions: ['x', 'y'] } });
  await use({ do: 'report', figures: { costUsd: 0.25, model: 'two' } });
  assert.equal((await use({ do: 'report', figures: { costUsd: NaN } })).code, 'INVALID_ARGUMENT');
  await use({ do: 'rename', name: 'Neuer Name' });
  const shown = async (of: Host) => {
    const row = await of.registry.snapshot('a');
    return [row?.name, row?.totalCost, row?.model, row?.costSource, row?.subModelOptions, row?.totalTasks];
  };
  const expected = ['Neuer Name', 0.75, 'two', 'api', ['x', 'y'], 4];
  assert.deepEqual(await shown(host), expected);
  await host.close();
  assert.deepEqual(await shown(await launch(t, { agents, dataDir, threads: 1 })), expected);
});

test('a report of anything but text and numbers is refused, and costs the session nothing', async (t) => {
  const { host, use } = await toolbox(t);
  const wrong: Record<string, unknown>[] = [
    { model: {} },
    { model: ['x'] },
    { costSource: 5 },
    { topUpUrl: null },
    { subModelOptions: ['x', null] },
    { subModelOptions: 'x' },
    { subModelOptions: null },
    { costUsd: '1' },
    { latencyMs: null },
    { totalTasks: '7' },
    { status: 'idle' },
    { model: 'fine', colour: 'red' },
  ];
  for (const figures of wrong) {
    assert.equal((await use({ do: 'report', figures })).code, 'INVALID_ARGUMENT', JSON.stringify(figures));
  }
  const row = await host.registry.snapshot('a');
  assert.deepEqual([row?.model, row?.subModelOptions, row?.totalTasks], [null, null, wrong.length]);
  assert.equal((await use({ do: 'report', figures: { model: 'fine' } })).state, 'completed');
});

test('the history counts, is durable when it says so, and is read in pages from any seq', async (t) => {
  const { host, use } = await toolbox(t);
  const first = outputOf<{ before: number; after: number; durableSeq: number }>(
    await use({ do: 'append', count: 600 }),
  );
  assert.deepEqual(first, { before: 1, after: 601, durableSeq: 601 });
  const seqs = (info: RunInfo) => outputOf<[number, string][]>(info).map(([seq]) => seq);
  assert.deepEqual(
    seqs(await use({ do: 'read' })),
    Array.from({ length: 603 }, (_, i) => i + 1),
  );
  assert.deepEqual(outputOf(await use({ do: 'read', from: 601, limit: 2 })), [
    [601, 'note'],
    [602, 'run'],
  ]);
  assert.deepEqual(seqs(await use({ do: 'read', from: 10_000 })), []);
  assert.deepEqual(seqs(await use({ do: 'read', limit: 0 })), []);
  assert.equal((await use({ do: 'read', from: 0 })).code, 'INVALID_ARGUMENT');
  const page = await host.messages('a', { limit: 2, before: 4 });
  assert.deepEqual([page?.messages.map((entry) => entry['seq']), page?.hasMore], [[2, 3], true]);
});

test('an interrupt stops a synchronous loop at its checkpoint, asynchronous code by its signal', async (t) => {
  const host = await counterHost(t);
  await host.create({ sessionId: 'b', agentProfile: 'toolbox' });
  for (const [id, input] of [
    ['a', { by: 1, spin: 'check' }],
    ['b', { do: 'sleep' }],
    ['b', { do: 'progress', fraction: 0.5 }],
    ['b', { do: 'cleanUp' }],
  ] as const) {
    const run = host.send(id, input);
    await running(host);
    if (id === 'a') await until('it has counted', () => (host.registry.sessionSummary('a')?.historySeq ?? 0) >= 2);
    assert.equal(host.interrupt(id), run.runId);
    const { state, error, code } = await run.result;
    assert.deepEqual([state, error, code], ['interrupted', 'Interrupted', 'RUN_INTERRUPTED']);
  }
  assert.equal(host.interrupt('a'), null);
  assert.equal(host.interrupt('nowhere'), null);
  assert.deepEqual(outputOf(await host.send('a', {}).result), { n: 1 });
  // The generator was told at its yield, so that it could clean up.
  const run = host.send('b', { do: 'cleanUp' });
  await until('it runs', () => host.registry.sessionSummary('b')?.runId === run.runId);
  host.interrupt('b', run.runId);
  await run.result;
});

test('a queued run is interrupted without running, and leaves the others alone', async (t) => {
  const host = await counterHost(t);
  const first = host.send('a', { spin: 'check' });
  const [second, third] = [host.send('a', { by: 10 }), host.send('a', { by: 1 })];
  await Promise.all([second.accepted, third.accepted]);
  await running(host);
  assert.equal(host.interrupt('a', second.runId), second.runId);
  const info = await second.result;
  assert.deepEqual([info.state, info.startedAt], ['interrupted', null]);
  assert.equal(host.registry.get('a')?.status, 'running');
  assert.equal(host.interrupt('a', second.runId), null);
  host.interrupt('a', first.runId);
  assert.deepEqual(outputOf(await third.result), { n: 1 });
});

test('a run that is interrupted before its input is on disk is accepted, and never executed', async (t) => {
  const host = await counterHost(t);
  await host.create({ sessionId: 'b', agentProfile: 'counter' });
  const first = host.send('a', { by: 1 });
  const alone = host.send('b', { by: 1 });
  const behind = host.send('a', { by: 10 });
  for (const [id, run] of [
    ['b', alone],
    ['a', behind],
  ] as const)
    assert.equal(host.interrupt(id, run.runId), run.runId);
  for (const run of [alone, behind]) {
    assert.equal((await run.accepted).id, run.runId);
    const { state, code, startedAt } = await run.result;
    assert.deepEqual([state, code, startedAt], ['interrupted', 'RUN_INTERRUPTED', null]);
  }
  assert.equal((await first.result).state, 'completed');
  for (const id of ['a', 'b']) assert.equal(host.registry.get(id)?.queued ?? 0, 0);
  assert.deepEqual(outputOf(await host.send('a', { by: 1 }).result), { n: 2 });
});

test('and ends while its session is still busy with the run before', async (t) => {
  const host = await counterHost(t);
  const first = host.send('a', { spin: 'check' });
  await running(host);
  const behind = host.send('a', { by: 1 });
  assert.equal(host.interrupt('a', behind.runId), behind.runId);
  const { state, code, startedAt } = await behind.result;
  assert.deepEqual([state, code, startedAt], ['interrupted', 'RUN_INTERRUPTED', null]);
  assert.deepEqual([host.registry.get('a')?.runId, host.registry.get('a')?.queued], [first.runId, 0]);
  host.interrupt('a', first.runId);
  assert.equal((await first.result).state, 'interrupted');
});

test('an interrupt that comes late never touches the next run', async (t) => {
  const host = await counterHost(t, 2);
  for (let round = 1; round <= 40; round++) {
    const [first, second] = [host.send('a', { by: 1 }), host.send('a', { by: 1 })];
    await first.accepted;
    if (round % 2 === 0) await first.result;
    else await new Promise((resolve) => setImmediate(resolve));
    host.interrupt('a', first.runId);
    assert.equal((await second.result).state, 'completed', `round ${round}`);
    await first.result;
  }
});

test('no more agents run than may', async (t) => {
  const host = await launch(t, { agents, threads: 2, maxRunningAgents: 3 });
  const ids = Array.from({ length: 12 }, (_, i) => `s${i}`);
  for (const sessionId of ids) await host.create({ sessionId, agentProfile: 'overlap-io' });
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, host.registry.countByStatus('running'));
  }, 1);
  t.after(() => clearInterval(watch));
  const dir = tempDir(t);
  const go = join(dir, 'go');
  const runs = ids.map((id) => host.send(id, { until: go }));
  await Promise.all(runs.map(({ accepted }) => accepted));
  await running(host, 3);
  assert.equal(host.registry.runningFull(), true);
  writeFileSync(go, '');
  for (const { result } of runs) assert.equal((await result).state, 'completed');
  assert.equal(most, 3);
});

test("'io' agents run side by side in one thread; 'cpu' agents have it to themselves", async (t) => {
  const host = await launch(t, { agents, threads: 1 });
  const most = async (agentProfile: string, input: Overlap): Promise<number> => {
    const ids = await Promise.all(Array.from({ length: 4 }, () => host.create({ agentProfile })));
    const results = await Promise.all(ids.map((id) => host.send(id, input).result));
    return Math.max(...results.map((info) => outputOf<{ most: number }>(info).most));
  };
  assert.equal(await most('overlap-io', { among: 4 }), 4);
  assert.equal(await most('overlap-cpu', { ms: 60 }), 1);
});

for (const agentProfile of ['counter', 'general']) {
  test(`a session (${agentProfile}) moves to a free thread while its own is busy spinning`, async (t) => {
    const host = await counterHost(t, 2);
    const home = host.registry.get('a')!.thread;
    let id = '';
    while (id === '') {
      const made = await host.create({ agentProfile });
      if (host.registry.get(made)?.thread === home) id = made;
    }
    assert.equal((await host.send(id, { by: 1 }).result).state, 'completed');
    const spinning = host.send('a', { spin: 'check' });
    await running(host);
    assert.equal(host.registry.get('a')?.thread, home);
    const run = host.send(id, { by: 1 });
    // The one that spins does so until it is told to stop.
    assert.equal((await run.result).state, 'completed');
    assert.notEqual(host.registry.get(id)?.thread, home);
    assert.equal(host.registry.get('a')?.runId, spinning.runId);
    host.interrupt('a');
    assert.equal((await spinning.result).state, 'interrupted');
  });
}
