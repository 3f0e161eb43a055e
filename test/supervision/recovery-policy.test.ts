// Runs that a crash of the whole process cut off: told as interrupted, or started again, as their profile says.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { RESUME_MAX_RUNS } from '../../src/protocol/limits.js';
import { testAgent, until } from '../support/host.js';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, flags, history, readRun } from '../process/client.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import { Activation, accept as acceptIn, create as createIn, record, write } from '../store/records.js';
import { complete, gate, house, outcome } from './house.js';

const AGENTS = ['supervision-resume', 'supervision-cpu'];

const start = (t: TestContext, dataDir: string): Promise<Server> =>
  Server.start(t, flags(dataDir, AGENTS, '--threads', '1', '--drain-ms', '100'));

const countsOf = async (server: Server, id: string): Promise<unknown[]> =>
  (await history(server, id)).filter((entry) => entry.role === 'assistant').map((entry) => entry['n']);

test('a run whose profile says resume starts again after kill -9, and knows it', async (t) => {
  const dataDir = tempDir(t);
  const { path, open } = gate(t);
  const first = await start(t, dataDir);
  const id = await create(first, 'supervision-resume');
  const cut = await accept(first, id, { count: 2, how: 'spin', until: path });
  const behind = await accept(first, id, { count: 1 });
  await until('it runs', async () => (await countsOf(first, id)).length === 2);
  await first.kill();
  open();

  const second = await start(t, dataDir);
  const resumed = await ended(second, id, cut);
  assert.deepEqual([resumed.state, resumed.code], ['completed', null]);
  const output = resumed.output as { n: number; resumed: boolean };
  assert.deepEqual([output.n, output.resumed], [4, true]);
  const next = (await ended(second, id, behind)).output as { n: number; resumed: boolean };
  assert.deepEqual([next.n, next.resumed], [5, false], 'what was queued behind it runs after it, and is not resumed');
  assert.deepEqual(await countsOf(second, id), [1, 2, 3, 4, 5]);
});

test('it is started again three times at most; another profile reads interrupted at once', async (t) => {
  const dataDir = tempDir(t);
  const { path } = gate(t);
  const first = await start(t, dataDir);
  const id = await create(first, 'supervision-resume');
  const other = await create(first, 'supervision-cpu');
  const run = await accept(first, id, { count: 1, how: 'wait', until: path });
  await until('it runs', async () => (await countsOf(first, id)).length === 1);
  await first.kill();
  for (let resumes = 1; resumes <= 3; resumes++) {
    const server = await start(t, dataDir);
    await until('it runs again', async () => (await countsOf(server, id)).length === 1 + resumes);
    assert.equal((await readRun(server, id, run)).state, 'running');
    await server.kill();
  }
  const last = await start(t, dataDir);
  const given = await readRun(last, id, run);
  assert.deepEqual([given.state, given.code], ['interrupted', 'RUN_CUT_OFF']);
  assert.equal((await countsOf(last, id)).length, 4);

  const reported = await accept(last, other, { count: 1, how: 'spin', until: path });
  await until('it runs', async () => (await countsOf(last, other)).length === 1);
  await last.kill();
  const after = await start(t, dataDir);
  assert.deepEqual((await readRun(after, other, reported)).state, 'interrupted');
  const next = await ended(after, other, await accept(after, other, { count: 1 }));
  assert.deepEqual([next.state, (next.output as { n: number }).n], ['completed', 2]);
});

test('a retry that the end of the process overtook is no resumed run', async (t) => {
  const dataDir = tempDir(t);
  const store = new SqliteStore(join(dataDir, 'cabana.db'));
  const profiles = { retried: 'supervision-retry', resumed: 'supervision-resume' };
  for (const [sessionId, agentProfile] of Object.entries(profiles)) {
    await createIn(store, record(sessionId, { agentProfile }));
    const { runId } = await acceptIn(store, sessionId, 'again');
    const activation = await Activation.of(store, sessionId);
    await activation.commit(activation.start(runId));
    // A neighbour took the thread down.
    await write(store, { kind: 'requeue', sessionId, runId, ifUnstarted: false });
  }
  await store.close();
  const host = await house(t, { dataDir, threads: 1 });
  const resumed = async (id: string) => ((await host.pending(id, 'again'))?.output as { resumed: boolean }).resumed;
  assert.deepEqual(await Promise.all([resumed('retried'), resumed('resumed')]), [false, true]);
  assert.equal((await complete(host, 'resumed', {})).resumed, false);
});

test('a run that was retried may still be resumed three times', async (t) => {
  const dataDir = tempDir(t);
  const store = new SqliteStore(join(dataDir, 'cabana.db'));
  await createIn(store, record('a', { agentProfile: 'supervision-resume' }));
  const { runId } = await acceptIn(store, 'a', 'often');
  const begin = async (): Promise<void> => {
    const activation = await Activation.of(store, 'a');
    await activation.commit(activation.start(runId));
  };
  // Neighbours took the thread down, also before the run had begun: no process has ended yet.
  for (let retries = 0; retries < 4; retries++) {
    await begin();
    await write(store, { kind: 'requeue', sessionId: 'a', runId, ifUnstarted: false });
    await write(store, { kind: 'requeue', sessionId: 'a', runId, ifUnstarted: true });
  }
  // The process ends in the midst of the run, three times.
  const profiles = ['supervision-resume'];
  const recovery = { profiles, resumeProfiles: profiles, maxResumes: RESUME_MAX_RUNS, at: Date.now() };
  for (let resumes = 0; resumes < RESUME_MAX_RUNS - 1; resumes++) {
    await begin();
    assert.equal((await store.recover(recovery)).interrupted, 0);
  }
  await begin();
  await store.close();
  const host = await house(t, { dataDir, threads: 1 });
  const info = (await host.pending('a', runId)) ?? (await host.run('a', runId));
  assert.deepEqual([info?.state, info?.code], ['completed', null]);
  assert.equal((info?.output as { resumed: boolean }).resumed, true);
});

test('a run that was cut off waits for a start that knows its profile', async (t) => {
  const dataDir = tempDir(t);
  const store = new SqliteStore(join(dataDir, 'cabana.db'));
  const ids = ['resume', 'cpu'];
  for (const sessionId of ids) {
    await createIn(store, record(sessionId, { agentProfile: `supervision-${sessionId}` }));
    const { runId } = await acceptIn(store, sessionId, 'cut');
    const activation = await Activation.of(store, sessionId);
    await activation.commit(activation.start(runId));
  }
  await store.close();

  const without = await house(t, { dataDir, threads: 1, agents: [testAgent('supervision-io')] });
  for (const id of ids) {
    assert.deepEqual(outcome((await without.run(id, 'cut'))!), ['running', null]);
    const again = without.send(id, {}, { runId: 'cut' });
    assert.equal((await again.accepted).state, 'running');
    await assert.rejects(again.result, { code: 'UNKNOWN_PROFILE' });
    const another = await without.send(id, {}).result;
    assert.deepEqual(outcome(another), ['failed', 'UNKNOWN_PROFILE']);
  }
  await without.close();

  const host = await house(t, { dataDir, threads: 1 });
  const end = async (id: string) => outcome(((await host.pending(id, 'cut')) ?? (await host.run(id, 'cut')))!);
  assert.deepEqual(await end('resume'), ['completed', null]);
  assert.deepEqual(await end('cpu'), ['interrupted', 'RUN_CUT_OFF']);
});
