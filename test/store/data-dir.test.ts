// The data folder is one process's at a time, however that process ends.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdDataDir, holdNames } from '../../src/worker/store/data-dir.js';
import { launch } from '../main/launch.js';
import { tempDir } from '../support/temp.js';

const DATA_DIR = new URL('../../src/worker/store/data-dir.js', import.meta.url).href;

/** Another process that holds the folder, or says with which code it was refused. */
function otherProcess(dir: string) {
  const script = `
    import { holdDataDir } from ${JSON.stringify(DATA_DIR)};
    try {
      holdDataDir(${JSON.stringify(dir)});
      console.log('held');
      setInterval(() => undefined, 1000);
    } catch (error) {
      console.log(error.code);
    }`;
  return spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('a folder that another process holds is refused by name, and free again after kill -9 of it', async (t) => {
  const dir = join(tempDir(t), 'made', 'when needed');
  const holder = otherProcess(dir);
  t.after(() => holder.kill('SIGKILL'));
  assert.equal(String((await once(holder.stdout, 'data'))[0]).trim(), 'held');
  assert.throws(() => holdDataDir(dir), { code: 'DATA_DIR_IN_USE', message: new RegExp(dir) });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  const held = holdDataDir(dir);
  assert.equal(held.databasePath, join(realpathSync(dir), 'cabana.db'));
  const second = otherProcess(dir);
  assert.equal(String((await once(second.stdout, 'data'))[0]).trim(), 'DATA_DIR_IN_USE');
  await once(second, 'exit');
  held.release();
  holdDataDir(dir).release();
});

test('a folder stays held when some code of the process has read the files in it', async (t) => {
  const dir = tempDir(t);
  const held = holdDataDir(dir);
  const release = await holdNames(dir, held.databasePath);
  readFileSync(join(dir, 'cabana.lock'));
  // The kernel has dropped the lock of the file by now.
  await assert.rejects(holdNames(dir, held.databasePath), { code: 'DATA_DIR_IN_USE', message: new RegExp(dir) });
  held.release();
  // Somebody who connects to the name does not keep it from being given back.
  const { dev, ino } = statSync(dir, { bigint: true });
  const visitor = connect({ path: `\0cabana.${dev}.${ino}` });
  await once(visitor, 'close');
  await release();
  const again = await holdNames(dir, held.databasePath);
  await again();
});

test('a database that two folders link to is held by one process, and need not be there before', async (t) => {
  const dir = tempDir(t);
  const [first, second, elsewhere] = [join(dir, 'first'), join(dir, 'second'), join(dir, 'elsewhere')];
  const database = join(elsewhere, 'data.db');
  for (const folder of [first, second]) {
    mkdirSync(folder);
    symlinkSync(database, join(folder, 'cabana.db'));
  }
  assert.throws(() => holdDataDir(first), { code: 'DATA_DIR_INVALID', message: /no such file/ });
  mkdirSync(elsewhere);
  const host = await launch(t, { dataDir: first });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  assert.ok(existsSync(`${database}-wal`), 'the log is where the database is');
  await assert.rejects(launch(t, { dataDir: second }), { code: 'DATA_DIR_IN_USE', message: new RegExp(database) });
  await host.close();
  const next = await launch(t, { dataDir: second });
  assert.ok(await next.registry.snapshot('a'));
});

test('a folder that cannot be made is refused by name', (t) => {
  const file = join(tempDir(t), 'a file');
  writeFileSync(file, '');
  for (const dir of [file, join(file, 'below it')]) {
    assert.throws(() => holdDataDir(dir), { code: 'DATA_DIR_INVALID', message: /a file/ });
  }
  assert.ok(existsSync(file));
});
