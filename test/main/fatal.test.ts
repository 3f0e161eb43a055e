// A storage that fails for good: who waits is told, and so is the one who runs the host, whenever it asks to be.

import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { CabanaError } from '../../src/main/index.js';
import { testAgent } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch } from './launch.js';

/** Overwrites the first page of a table or index. */
function damage(database: string, name: string): void {
  const db = new Sqlite(database);
  db.pragma('wal_checkpoint(TRUNCATE)');
  const pageBytes = db.pragma('page_size', { simple: true }) as number;
  const { page } = db
    .prepare<[string], { page: number }>('SELECT rootpage AS page FROM sqlite_master WHERE name = ?')
    .get(name)!;
  db.close();
  const file = openSync(database, 'r+');
  writeSync(file, Buffer.alloc(pageBytes, 0xff), 0, pageBytes, (page - 1) * pageBytes);
  closeSync(file);
}

test('the listener is told when the storage fails, also one that is set when it has failed', async (t) => {
  const dataDir = tempDir(t);
  const agents = [testAgent('counter')];
  const first = await launch(t, { dataDir, agents });
  await first.create({ sessionId: 'a', agentProfile: 'counter' });
  await first.close();
  damage(join(dataDir, 'cabana.db'), 'journal_by_seq');
  const host = await launch(t, { dataDir, agents, logLevel: 'silent' });
  const told: CabanaError[] = [];
  host.onFatal = (error) => told.push(error);
  assert.equal(host.ready, true);
  await assert.rejects(host.send('a', { by: 1 }).accepted, { code: 'STORE_IO' });
  assert.deepEqual([told.map(({ code }) => code), host.fatal?.code, host.ready], [['STORE_IO'], 'STORE_IO', false]);
  const late: CabanaError[] = [];
  host.onFatal = (error) => late.push(error);
  assert.deepEqual(late, [host.fatal]);
  assert.equal((await host.close()).storageFailed, true);
});

test('a listener of the shutdown that throws changes nothing of it', async (t) => {
  const host = await launch(t, { threads: 1, logLevel: 'silent' });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  const tell = (): never => {
    throw new Error('the bar is broken');
  };
  const { live, flushed, unflushed } = await host.close({ draining: tell, flushing: tell });
  assert.deepEqual([live, flushed, unflushed], [1, 1, []]);
});
