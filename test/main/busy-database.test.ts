// A database that another process holds for longer than SQLite waits: what agents did is kept, as on a full disk.

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { complete, counts, house, inhabit } from '../supervision/house.js';
import { holdDatabase } from '../support/held-database.js';
import { until } from '../support/host.js';
import { launch } from './launch.js';
import { tempDir } from '../support/temp.js';

test('a run that appends while another process holds the database goes on, and all of it is on disk after that', async (t) => {
  const dataDir = tempDir(t);
  const host = await house(t, { dataDir });
  await inhabit(host, 'io');
  const gate = join(tempDir(t), 'gate');
  const run = host.send('io', { count: 1, how: 'wait', until: gate, after: true, durable: true });
  await until('the run is in progress', () => host.registry.get('io')?.state === 'running');
  const held = holdDatabase(t, dataDir);
  writeFileSync(gate, '');
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
  const [agent, gate, dataDir] = [join(dir, 'agent.mjs'), join(dir, 'gate'), join(dir, 'data')];
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
  const failing = host.create({ sessionId: 'a', agentProfile: 'choosy', params: { gate } });
  const failed = assert.rejects(failing, { code: 'RESTORE_FAILED' });
  await until('it starts', () => existsSync(`${gate} is awaited`));
  const held = holdDatabase(t, dataDir);
  writeFileSync(gate, '');
  await until('it has failed', () => host.registry.get('a')?.state === 'failed');
  held.release();
  await failed;
  assert.equal(await host.registry.snapshot('a'), undefined);
  await host.create({ sessionId: 'a', agentProfile: 'choosy' });
  assert.equal((await host.send('a', null).result).output, 'well');
});
