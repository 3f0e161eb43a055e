// The start of a host: the threads start together, agents' code runs only where it may, and a start that fails leaves
// nothing behind.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { RESTORE_MAX_SESSIONS } from '../../src/protocol/limits.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import { Activation, accept, create, record } from '../store/records.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { closeQuickly, launch, launchWithClock } from './launch.js';

const onLinux = { skip: process.platform === 'linux' ? false : 'threads are counted by what Linux tells of them' };
const LEAST_PRIORITY = 19;
/** Where the tests have the least priority themselves, there is none behind it. */
const onLinuxInFront = getPriority() < LEAST_PRIORITY ? onLinux : { skip: 'nothing is behind the least priority' };
const NICE_FIELD = 16;

/** Nice values of this process's threads. */
function niceValues(): number[] {
  return readdirSync('/proc/self/task').flatMap((thread) => {
    const stat = statOf(thread);
    // The name before the fields may hold spaces.
    return stat === null ? [] : [Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[NICE_FIELD])];
  });
}

/** What the system tells of a thread; null: it has ended since it was listed. */
function statOf(thread: string): string | null {
  try {
    return readFileSync(`/proc/self/task/${thread}/stat`, 'latin1');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

/** The system may show a thread for a moment after its end has been told. */
function threadsAreGone(before: readonly number[]): Promise<void> {
  return until('the threads are gone', () => niceValues().length <= before.length);
}

test('agent threads, and they alone, step back behind the others when they are up', onLinuxInFront, async (t) => {
  const own = getPriority();
  const behind = Math.min(own + 7, LEAST_PRIORITY);
  // Time stands still: there is no spare thread yet.
  await launchWithClock(t, { agents: [testAgent('counter')], threads: 3, niceIncrement: 7 });
  const values = niceValues();
  assert.equal(values.filter((nice) => nice === behind).length, 3);
  assert.equal(values.filter((nice) => nice === own).length, values.length - 3);
});

test(
  'threads that replace others step back as well, and a host that closes meanwhile leaves none',
  onLinuxInFront,
  async (t) => {
    const own = getPriority();
    const behind = Math.min(own + 7, LEAST_PRIORITY);
    await until('those of the test before are gone', () => niceValues().every((nice) => nice === own));
    const before = niceValues();
    for (let deaths = 1; deaths <= 3; deaths++) {
      const host = await launch(t, {
        agents: [testAgent('crasher')],
        threads: 3,
        niceIncrement: 7,
        // That a thread dies is an error to an operator; here it is meant.
        logLevel: 'silent',
      });
      const ids = Array.from({ length: deaths }, (_, k) => `crasher-${k}`);
      await Promise.all(ids.map((sessionId) => host.create({ sessionId, agentProfile: 'crasher' })));
      const ends = await Promise.all(ids.map((id) => host.send(id, { how: 'exit' }).result));
      assert.deepEqual(new Set(ends.map(({ code }) => code)), new Set(['AGENT_CRASHED']));
      // Which have a thread again, and others than those that have died.
      assert.deepEqual((await host.send(ids[0]!, {}).result).output, { n: 1 });
      await until('all threads are there', () => host.threads().every(({ state }) => state === 'idle'));
      const stepped = niceValues().filter((nice) => nice === behind).length;
      assert.ok(stepped >= 3, `${stepped} threads have stepped back`);
      // In the midst of preparing for the next death.
      await host.close();
      await threadsAreGone(before);
      assert.deepEqual(niceValues().sort(), before.sort(), `after ${deaths} deaths`);
    }
  },
);

test('a start that the data folder refuses runs no code of agents, and leaves no thread', onLinux, async (t) => {
  const dir = tempDir(t);
  const dataDir = join(dir, 'data');
  const { host: first, clock } = await launchWithClock(t, { dataDir, agents: [testAgent('counter')], threads: 1 });
  const mark = join(dir, 'loaded');
  const agent = join(dir, 'agent.mjs');
  writeFileSync(
    agent,
    `import { writeFileSync } from 'node:fs';
     writeFileSync(${JSON.stringify(mark)}, '');
     export default { profile: 'marking', run() {} };`,
  );
  const before = niceValues();
  await assert.rejects(launch(t, { dataDir, agents: [agent], threads: 3 }), { code: 'DATA_DIR_IN_USE' });
  assert.equal(existsSync(mark), false);
  await threadsAreGone(before);
  await closeQuickly(first, clock);
  await launch(t, { dataDir, agents: [agent], threads: 1 });
  assert.equal(existsSync(mark), true);
});

test('a start whose agents cannot be loaded leaves no thread, and lets go of the data folder', onLinux, async (t) => {
  const dir = tempDir(t);
  const dataDir = join(dir, 'data');
  const agent = join(dir, 'agent.mjs');
  writeFileSync(agent, 'export default {');
  await (await launch(t, { dataDir, agents: [testAgent('counter')], threads: 1 })).close();
  const before = niceValues();
  await assert.rejects(launch(t, { dataDir, agents: [agent], threads: 3 }), { code: 'AGENT_MODULE_INVALID' });
  await threadsAreGone(before);
  assert.equal((await launch(t, { dataDir, agents: [testAgent('counter')], threads: 1 })).ready, true);
});

test(
  'a start that cannot settle what an earlier process left leaves no thread, and lets go of the data folder',
  onLinux,
  async (t) => {
    const dataDir = tempDir(t);
    const database = join(dataDir, 'cabana.db');
    const agents = [testAgent('counter')];
    const store = new SqliteStore(database);
    await create(store, record('a', { agentProfile: 'counter' }));
    await accept(store, 'a', 'cut-off');
    const activation = await Activation.of(store, 'a');
    await activation.commit(activation.start('cut-off'));
    await store.close();
    const db = new Sqlite(database);
    t.after(() => db.close());
    db.exec(`CREATE TRIGGER refuse BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, 'not now'); END`);
    const before = niceValues();
    await assert.rejects(launch(t, { dataDir, agents, threads: 2 }), { code: 'INTERNAL', message: /not now/ });
    await threadsAreGone(before);
    db.exec('DROP TRIGGER refuse');
    const host = await launch(t, { dataDir, agents, threads: 2 });
    const run = await host.run('a', 'cut-off');
    assert.deepEqual([run?.state, run?.code], ['interrupted', 'RUN_CUT_OFF']);
  },
);

test('however many sources there are, a start brings up a bounded number of sessions', async (t) => {
  const dataDir = tempDir(t);
  const store = new SqliteStore(join(dataDir, 'cabana.db'));
  const sources = Array.from({ length: RESTORE_MAX_SESSIONS + 10 }, (_, i) => `channel ${i}`);
  await create(store, ...sources.map((source) => record(source.replace(' ', '-'), { source })));
  await store.close();
  const host = await launch(t, { dataDir, threads: 1 });
  assert.equal((await host.registry.restoreFromDisk()).length, RESTORE_MAX_SESSIONS);
  assert.equal(host.registry.countByStatus('idle'), RESTORE_MAX_SESSIONS);
});

test("a database that is none, or is not Cabana's, is named when the start is refused", async (t) => {
  const dataDir = tempDir(t);
  const database = join(dataDir, 'cabana.db');
  writeFileSync(database, 'this is text\n'.repeat(1_000));
  const agents = [testAgent('counter')];
  const refused = (code: string) => ({ code, message: new RegExp(`the database ${database} cannot be opened: `) });
  await assert.rejects(launch(t, { dataDir, agents, threads: 1 }), refused('STORE_IO'));
  rmSync(database);
  for (const version of [-1, 1_000]) {
    const db = new Sqlite(database);
    db.pragma(`user_version = ${version}`);
    db.close();
    await assert.rejects(launch(t, { dataDir, agents, threads: 1 }), refused('STORE_SCHEMA'));
  }
});
