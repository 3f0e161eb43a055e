// What is told of a session while it is being restored, when the restore has read the store already.

import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { complete, ended, house, restorerOnDisk } from './house.js';

test('a quarantine that is cleared, and a name that is given, during a restore hold after it', async (t) => {
  const dir = tempDir(t);
  const [exitWhile, spinWhile, spins] = [join(dir, 'exit'), join(dir, 'spin'), join(dir, 'spins')];
  const host = await house(t, { threads: 1, maxIdleAgents: 1 });
  await restorerOnDisk(host, 'bad', { exitWhile, spinWhile, spins });
  writeFileSync(exitWhile, '');
  for (let i = 0; i < 3; i++) assert.deepEqual(await ended(host, 'bad', {}), ['failed', 'AGENT_CRASHED']);
  rmSync(exitWhile);
  assert.deepEqual(await ended(host, 'bad', {}), ['refused', 'SESSION_QUARANTINED']);

  writeFileSync(spinWhile, '');
  t.after(() => rmSync(spinWhile, { force: true }));
  const up = host.registry.ensure('bad');
  await until('its restore has begun', () => existsSync(spins));
  assert.equal(await host.registry.clearQuarantine('bad'), true);
  assert.equal((await host.registry.edit('bad', { name: 'better' }))?.name, 'better');
  rmSync(spinWhile);
  assert.equal(await up, true);
  assert.equal(host.registry.get('bad')?.quarantine, null);
  assert.equal(host.registry.sessionSummary('bad')?.name, 'better');
  assert.equal((await complete<{ n: number }>(host, 'bad')).n, 2);
});
