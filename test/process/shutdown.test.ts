// SIGTERM and SIGINT: every live agent is flushed before the process exits, nobody waits for one that hangs, and what
// was left waiting goes on with the next start.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Server, type Answer } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, EventClient, flags, history, inParallel, readRun, run, spin } from './client.js';
import { until } from '../support/host.js';

const AGENTS = ['counter', 'general', 'process-flush', 'process-ledger', 'process-gate'];

const start = (t: TestContext, data: string, ...more: string[]): Promise<Server> =>
  Server.start(t, flags(data, AGENTS, '--threads', '2', ...more));

interface Report {
  signal: string;
  live: number;
  flushed: number;
  unflushed: string[];
  ms: number;
}

/** The report, which must be all that there is on stderr. */
function reportOf(server: Server): Report {
  const lines = server.stderr.split('\n').filter((line) => line !== '');
  assert.equal(lines.length, 1, server.stderr);
  const report = JSON.parse(lines[0]!) as Report;
  for (const field of ['signal', 'live', 'flushed', 'unflushed', 'ms']) assert.ok(field in report, field);
  return report;
}

/** Sends the signal and resolves when the server says that it is no longer ready. */
async function beginDrain(server: Server, signal: NodeJS.Signals = 'SIGTERM'): Promise<Answer> {
  server.child.kill(signal);
  let answer!: Answer;
  await until('it is draining', async () => {
    answer = await server.request('GET', '/readyz');
    return answer.status === 503;
  });
  return answer;
}

function assertDraining(answer: Answer): void {
  assert.deepEqual([answer.status, answer.body['code']], [503, 'HOST_DRAINING']);
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
}

describe('a shutdown with everybody well', () => {
  it('flushes 1,000 agents with unsaved state, exits 0, and every state is there at the next start', async (t) => {
    const data = tempDir(t);
    const first = await start(t, data);
    const numbers = Array.from({ length: 1_000 }, (_, i) => i + 1);
    const ids = await inParallel(32, numbers, () => create(first, 'process-flush'));
    await inParallel(32, numbers, async (n, i) => {
      assert.deepEqual(await run(first, ids[i]!, { add: n }), { sum: n });
    });
    assert.equal(await first.stop(), 0, first.stderr);
    const { signal, live, flushed, unflushed } = reportOf(first);
    assert.deepEqual(
      { signal, live, flushed, unflushed },
      { signal: 'SIGTERM', live: 1_000, flushed: 1_000, unflushed: [] },
    );
    const second = await start(t, data);
    await inParallel(32, numbers, async (n, i) => {
      assert.deepEqual(await run(second, ids[i]!, { add: 0 }), { sum: n });
    });
  });

  it('does the same on SIGINT, and with nothing to do', async (t) => {
    const data = tempDir(t);
    const first = await start(t, data);
    const id = await create(first, 'process-flush');
    await run(first, id, { add: 7 });
    assert.equal(await first.stop('SIGINT'), 0);
    assert.deepEqual([reportOf(first).signal, reportOf(first).live], ['SIGINT', 1]);
    const second = await start(t, data);
    assert.deepEqual(await run(second, id, { add: 0 }), { sum: 7 });
    const empty = await start(t, tempDir(t));
    assert.equal(await empty.stop(), 0);
    assert.deepEqual([reportOf(empty).live, reportOf(empty).unflushed], [0, []]);
  });

  it('refuses new work with HOST_DRAINING while runs finish, goes on with reads, and runs the queue at the next start', async (t) => {
    const dir = tempDir(t);
    const data = join(dir, 'data');
    const gate = join(dir, 'gate');
    const first = await start(t, data, '--drain-ms', '60000');
    const id = await create(first, 'process-gate');
    const idle = await create(first, 'process-flush');
    await run(first, idle, { add: 3 });
    const running = await accept(first, id, { gate });
    await until('it runs', async () => (await readRun(first, id, running)).state === 'running');
    const queued = [await accept(first, id, { gate }), await accept(first, id, { gate })];
    const stream = await EventClient.open(first, id);
    assertDraining(await beginDrain(first));
    assertDraining(await first.request('POST', `/api/sessions/${idle}/runs`, { input: { add: 1 } }));
    assertDraining(await first.request('POST', `/api/sessions/${id}/runs`, { input: { gate } }));
    assertDraining(await first.request('POST', '/api/sessions', { agent_profile: 'general' }));
    assert.equal((await first.request('GET', '/healthz')).status, 200);
    assert.equal((await first.request('GET', '/api/sessions')).status, 200);
    assert.equal((await first.request('GET', `/api/sessions/${idle}`)).status, 200);
    assert.equal((await history(first, idle)).length, 2);
    assert.equal((await readRun(first, id, queued[0]!)).state, 'queued');
    // A retry of what was accepted is no new work.
    assert.equal(await accept(first, id, { gate }, queued[1]), queued[1]);
    const waiting = readRun(first, id, running, 60_000);
    writeFileSync(gate, '');
    assert.deepEqual([(await waiting).state, (await waiting).output], ['completed', { passed: 1 }]);
    assert.equal((await first.exited).code, 0);
    await stream.ended;
    assert.deepEqual(reportOf(first).unflushed, []);
    const second = await start(t, data);
    assert.equal((await readRun(second, id, running)).state, 'completed');
    const outcomes = await Promise.all(queued.map((runId) => ended(second, id, runId)));
    assert.deepEqual(
      outcomes.map(({ state, output }) => ({ state, output })),
      [2, 3].map((passed) => ({ state: 'completed', output: { passed } })),
    );
    assert.deepEqual(await run(second, idle, { add: 0 }), { sum: 3 });
  });

  it('interrupts what has not finished after --drain-ms, and saves what it had done', async (t) => {
    const data = tempDir(t);
    const first = await start(t, data, '--drain-ms', '200');
    const sleeper = await create(first, 'counter');
    const sleeping = await accept(first, sleeper, { by: 3, sleepMs: 600_000 });
    await until('it sleeps', async () => (await history(first, sleeper)).length === 4);
    const spinner = await create(first, 'counter');
    const spinning = await spin(first, spinner, 'check');
    const queued = await accept(first, spinner, { by: 2 });
    assert.equal(await first.stop(), 0, first.stderr);
    const report = reportOf(first);
    assert.deepEqual([report.live, report.flushed, report.unflushed], [2, 2, []]);
    assert.ok(report.ms >= 200, `${report.ms} ms`);
    const second = await start(t, data);
    for (const [id, runId] of [
      [sleeper, sleeping],
      [spinner, spinning],
    ] as const) {
      const outcome = await readRun(second, id, runId);
      assert.deepEqual([outcome.state, outcome.code], ['interrupted', 'HOST_DRAINING']);
    }
    assert.deepEqual(await run(second, sleeper, {}), { n: 3 });
    assert.deepEqual((await ended(second, spinner, queued)).output, { n: 2 });
  });

  it('answers long polls on what waits with the run as it is on disk', async (t) => {
    const dataDir = tempDir(t);
    const server = await start(t, dataDir, '--drain-ms', '1000');
    const id = await create(server, 'counter');
    await spin(server, id, 'check');
    const runIds = await inParallel(10, Array.from({ length: 40 }), () => accept(server, id, { by: 1 }));
    const polls = runIds.map((runId) => server.request('GET', `/api/sessions/${id}/runs/${runId}?wait_ms=20000`));
    // They are under way: this one was sent after them.
    await server.request('GET', '/healthz');
    server.child.kill('SIGTERM');
    for (const { status, body } of await Promise.all(polls)) {
      assert.deepEqual(
        [status, (body['run'] as { state?: string } | undefined)?.state],
        [200, 'queued'],
        JSON.stringify(body),
      );
    }
    assert.equal((await server.exited).code, 0);
    assert.equal(server.stderr.includes('the store'), false, server.stderr);
  });
});

describe('a shutdown with an agent that never returns', () => {
  it('exits 3 at the deadline, names it alone, and loses nobody else’s state', async (t) => {
    const data = tempDir(t);
    const first = await start(t, data, '--drain-ms', '200', '--flush-deadline-ms', '5000');
    // In both threads, saved with every run; then one of the threads is lost, and the others go to the other.
    const counters = await inParallel(8, Array.from({ length: 24 }), () => create(first, 'counter'));
    await inParallel(8, counters, (id, i) => run(first, id, { by: i + 1 }));
    const stuck = await create(first, 'counter');
    const stuckRun = await accept(first, stuck, { entries: 25, spin: 'never' });
    await until('it spins', async () => (await history(first, stuck)).length === 26);
    const flushers = await inParallel(8, Array.from({ length: 25 }), () => create(first, 'process-flush'));
    await inParallel(8, flushers, (id, i) => run(first, id, { add: i + 1 }));
    const queued = await accept(first, stuck, { by: 1 });
    const began = performance.now();
    assert.equal(await first.stop(), 3, first.stderr);
    const took = performance.now() - began;
    const report = reportOf(first);
    assert.deepEqual(report.unflushed, [stuck]);
    assert.deepEqual([report.live, report.flushed], [50, 49]);
    assert.ok(report.ms >= 5_000, `${report.ms} ms`);
    assert.ok(took < 60_000, `${took} ms: the deadline counts once, not per agent`);

    const second = await start(t, data);
    const outcome = await readRun(second, stuck, stuckRun);
    assert.equal(outcome.state, 'interrupted');
    const notes = (await history(second, stuck)).filter((entry) => entry.role === 'note');
    assert.deepEqual(
      notes.map((entry) => entry['i']),
      Array.from({ length: 25 }, (_, i) => i),
    );
    assert.deepEqual((await ended(second, stuck, queued)).output, { n: 1 });
    await inParallel(8, counters, async (id, i) => assert.deepEqual(await run(second, id, {}), { n: i + 1 }));
    await inParallel(8, flushers, async (id, i) => assert.deepEqual(await run(second, id, { add: 0 }), { sum: i + 1 }));
  });

  it('names those too that shared its thread with unsaved state; what they journaled restores them', async (t) => {
    const data = tempDir(t);
    const args = ['--drain-ms', '100', '--flush-deadline-ms', '800', '--threads', '1'];
    const first = await Server.start(t, flags(data, AGENTS, ...args));
    const ledgers = await inParallel(8, Array.from({ length: 10 }), () => create(first, 'process-ledger'));
    await inParallel(8, ledgers, (id, i) => run(first, id, { add: i + 1 }));
    const saved = await create(first, 'counter');
    await run(first, saved, { by: 2 });
    const stuck = await create(first, 'counter');
    await spin(first, stuck, 'never');
    assert.equal(await first.stop(), 3);
    const report = reportOf(first);
    assert.deepEqual([...report.unflushed].sort(), [stuck, ...ledgers].sort());
    assert.deepEqual([report.live, report.flushed], [12, 1]);
    const second = await start(t, data);
    await inParallel(8, ledgers, async (id, i) => assert.deepEqual(await run(second, id, { add: 0 }), { sum: i + 1 }));
    assert.deepEqual(await run(second, saved, {}), { n: 2 });
  });
});

describe('a second signal', () => {
  for (const [second, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const) {
    it(`ends the process at once with ${code} when it is ${second}`, async (t) => {
      const data = tempDir(t);
      const server = await start(t, data, '--drain-ms', '60000');
      const id = await create(server, 'counter');
      const runId = await spin(server, id, 'never');
      await beginDrain(server);
      assert.equal(await server.stop(second), code);
      const next = await start(t, data);
      const outcome = await readRun(next, id, runId);
      assert.equal(outcome.state, 'interrupted');
      assert.equal((await history(next, id)).filter((entry) => entry.role === 'note').length, 1);
    });
  }
});
