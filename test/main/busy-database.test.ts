// A database that another process holds for longer than SQLite waits: what agents did is kept, as on a full disk.

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { complete, counts, gate, house, inhabit, outcome } from '../supervision/house.js';
import { holdDatabase } from '../support/held-database.js';
import { testAgent, until } from '../support/host.js';
import { launch } from './launch.js';
import { tempDir } from '../support/temp.js';

test('a run that appends while another process holds the database goes on, and all of it is on disk after that', async (t) => {
  const dataDir = tempDir(t);
  const host = await house(t, { dataDir });
  await inhabit(host, 'io');
  const { path, open } = gate(t);
  const run = host.send('io', { count: 1, how: 'wait', until: path, after: true, durable: true });
  await until('the run is in progress', () => host.registry.get('io')?.state === 'running');
  const held = holdDatabase(t, dataDir);
  open();
  await until('its entry was refused', () => host.registry.sessionSummary('io')?.progressLabel === 'STORE_UNAVAILABLE');
  held.release();
  const { state, code, error } = await run.result;
  assert.deepEqual([state, code, error], ['completed', null, null]);
  assert.deepEqual(await counts(host, 'io'), [1, 2]);
  // It is the same activation that goes on.
  assert.equal((await complete(host, 'io')).begun, 2);
});

test('a session that cannot be loaded while another process holds the database says so, and comes up after that', async (t) => {
  const dataDir = tempDir(t);
  const first = await house(t, { dataDir });
  await inhabit(first, 'io');
  await complete(first, 'io', { count: 1 });
  await first.close();
  const host = await house(t, { dataDir });
  const held = holdDatabase(t, dataDir);
  await assert.rejects(host.registry.ensure('io'), { code: 'STORE_UNAVAILABLE' });
  held.release();
  assert.equal(await host.registry.ensure('io'), true);
  await complete(host, 'io', { count: 1 });
  assert.deepEqual(await counts(host, 'io'), [1, 2]);
});

test('a creation that fails while another process holds the database is undone when that lets go of it', async (t) => {
  const dir = tempDir(t);
  const [agent, goOn, dataDir] = [join(dir, 'agent.mjs'), join(dir, 'gate'), join(dir, 'data')];
  writeFileSync(
    agent,
    `import { existsSync, writeFileSync } from 'node:fs';
    export default {
      profile: 'choosy',
      async start({ params }) {
        if (params.gate) writeFileSync(params.gate + ' is awaited', '');
        while (params.gate && !existsSync(params.gate)) await new Promise((resolve) => setTimeout(resolve, 2));
        if (params.gate) throw new Error('it cannot start');
      },
      run: () => 'well',
    };`,
  );
  const host = await launch(t, { agents: [agent], dataDir });
  const failing = host.create({ sessionId: 'a', agentProfile: 'choosy', params: { gate: goOn } });
  const failed = assert.rejects(failing, { code: 'RESTORE_FAILED' });
  await until('it starts', () => existsSync(`${goOn} is awaited`));
  const held = holdDatabase(t, dataDir);
  writeFileSync(goOn, '');
  await until('it has failed', () => host.registry.get('a')?.state === 'failed');
  held.release();
  await failed;
  assert.equal(await host.registry.snapshot('a'), undefined);
  await host.create({ sessionId: 'a', agentProfile: 'choosy' });
  assert.equal((await host.send('a', null).result).output, 'well');
});

test('a session whose thread dies while it is saved, and another process holds the database, comes back after that', async (t) => {
  const dataDir = tempDir(t);
  const agents = [testAgent('held-save'), testAgent('supervision-io')];
  const host = await launch(t, { agents, dataDir, threads: 1, maxIdleAgents: 0 });
  await host.create({ sessionId: 'a', agentProfile: 'held-save' });
  await inhabit(host, 'io');
  const watched = host.subscribe('a');
  await complete(host, 'a', { hold: true });
  const { path, open } = gate(t);
  const dying = host.send('io', { how: 'wait', until: path, crash: 'exit' });
  await until('the run is in progress', () => host.registry.get('io')?.state === 'running');
  await watched.return();
  const evicted = host.registry.evictExcessIdle();
  await until('it is being saved', () => host.registry.get('a')?.state === 'flushing');
  const flushed = host.registry.eachLiveAgent((id, agent) => (id === 'a' ? agent.flush() : undefined));
  const held = holdDatabase(t, dataDir);
  open();
  assert.deepEqual(await evicted, []);
  await assert.rejects(flushed, ({ errors }: AggregateError) => (errors[0] as { code: string }).code === 'THREAD_DIED');
  held.release();
  assert.deepEqual(outcome(await dying.result), ['failed', 'AGENT_CRASHED']);
  // What took the thread down was not its save.
  const seen = host.subscribe('a');
  assert.deepEqual(await complete(host, 'a', { hold: false }), { held: false });
  assert.equal(host.registry.sessionSummary('a')?.crashes, 0);
  await seen.return();
});
