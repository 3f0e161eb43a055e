// A full disk: writes are refused, reads go on, and when there is room again so does everything; nothing is lost.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, flags, history, inParallel, run, type Entry } from './client.js';
import { until } from '../support/host.js';

const MEGABYTE = 1024 * 1024;
/** What each input adds that fills the disk. When one is refused, the log has less room than this and a few pages. */
const INPUT_BYTES = 64 * 1024;
const SMALL_DATABASE = new URL('../support/small-database.js', import.meta.url).href;
/** Of 8 KiB. */
const DATABASE_PAGES = 500;

interface SmallDisk {
  dir: string;
  /** Of the servers that have their data there. */
  env: NodeJS.ProcessEnv;
  /** Gives the ballast's room back. */
  free(): void;
}

/** A database that is kept small, as SQLite sees a full disk: works everywhere. */
function smallDatabase(t: TestContext): SmallDisk {
  const dir = tempDir(t);
  const ballast = join(dir, 'ballast');
  writeFileSync(ballast, '');
  const env = {
    NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import ${SMALL_DATABASE}`,
    SMALL_DATABASE_BALLAST: ballast,
    SMALL_DATABASE_PAGES: String(DATABASE_PAGES),
  };
  return { dir, env, free: () => rmSync(ballast) };
}

function mount(dir: string): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', dir]).status === 0;
}

function unmount(dir: string): void {
  // Lazily: hooks run in the order of their making, so the servers that have files open there are still to be killed.
  spawnSync('umount', ['-l', dir]);
  rmdirSync(dir);
}

/** A small file system of its own, most of it taken by ballast. */
function smallFileSystem(t: TestContext): SmallDisk {
  const dir = mkdtempSync(join(tmpdir(), 'cabana-disk-'));
  const isMounted = mount(dir);
  t.after(() => unmount(dir));
  assert.ok(isMounted);
  const ballast = join(dir, 'ballast');
  writeFileSync(ballast, Buffer.alloc(10 * MEGABYTE, 1));
  return { dir, env: {}, free: () => rmSync(ballast) };
}

function mayMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const dir = mkdtempSync(join(tmpdir(), 'cabana-mount-'));
  const isMounted = mount(dir);
  if (isMounted) unmount(dir);
  else rmdirSync(dir);
  return isMounted;
}

const DISKS = [
  ['a full disk', smallDatabase],
  ...(mayMount() ? [['a full file system', smallFileSystem] as const] : []),
] as const;
const AGENTS = ['counter', 'process-flush'];

/** Sends large inputs until the disk is full. @returns the ids of the runs that were acknowledged */
async function fillUp(server: Server, id: string): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let i = 0; i < 2_000; i++) {
    const runId = `big-${i}`;
    const body = { input: { by: 1, run: runId, pad: 'x'.repeat(INPUT_BYTES) }, run_id: runId };
    const answer = await server.request('POST', `/api/sessions/${id}/runs`, body);
    if (answer.status === 202) {
      acknowledged.push(runId);
      continue;
    }
    assert.deepEqual([answer.status, answer.body['code']], [507, 'STORE_FULL'], JSON.stringify(answer.body));
    return acknowledged;
  }
  throw new Error('the disk was never full');
}

function assertAllThere(entries: readonly Entry[], acknowledged: readonly string[]): void {
  entries.forEach((entry, i) => assert.equal(entry.seq, i + 1));
  const runs = entries
    .filter((entry) => entry.role === 'user')
    .map((entry) => (entry['content'] as { run: string }).run);
  for (const runId of acknowledged) assert.equal(runs.filter((other) => other === runId).length, 1, runId);
}

function databaseBytes(dir: string): number {
  return readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
}

for (const [what, smallDisk] of DISKS)
  describe(what, () => {
    it('refuses runs with 507 STORE_FULL, goes on with reads, and works again when there is room', async (t) => {
      const disk = smallDisk(t);
      const data = join(disk.dir, 'data');
      const first = await Server.start(t, flags(data, AGENTS, '--threads', '1', '--log-level', 'silent'), disk.env);
      const id = await create(first, 'counter');
      const other = await create(first, 'process-flush');
      await run(first, other, { add: 5 });
      const acknowledged = await fillUp(first, id);
      assert.ok(acknowledged.length > 5);
      assert.ok(databaseBytes(data) > MEGABYTE);
      assert.equal((await first.request('GET', '/api/sessions')).status, 200);
      assert.equal((await first.request('GET', `/api/sessions/${id}`)).status, 200);
      assertAllThere(await history(first, id, 100), acknowledged);
      assert.equal((await first.request('GET', '/healthz')).status, 200);

      disk.free();
      await until('it takes runs again', async () => {
        const body = { input: { by: 1, run: 'after' }, run_id: 'after' };
        return (await first.request('POST', `/api/sessions/${id}/runs`, body)).status === 202;
      });
      acknowledged.push('after');
      await inParallel(4, acknowledged, async (runId) => {
        const outcome = await ended(first, id, runId);
        assert.equal(outcome.state, 'completed', JSON.stringify(outcome));
      });
      assert.deepEqual(await run(first, id, { by: 0, run: 'count' }), { n: acknowledged.length });
      assertAllThere(await history(first, id, 100), acknowledged);
      assert.equal(await first.stop(), 0, first.stderr);

      const second = await Server.start(t, flags(data, AGENTS, '--threads', '1'), disk.env);
      assertAllThere(await history(second, id, 100), acknowledged);
      assert.deepEqual(await run(second, id, { by: 0 }), { n: acknowledged.length });
      assert.deepEqual(await run(second, other, { add: 0 }), { sum: 5 });
    });

    it('has lost nothing acknowledged when the process is killed while it is full', async (t) => {
      const disk = smallDisk(t);
      const args = flags(join(disk.dir, 'data'), AGENTS, '--threads', '1', '--log-level', 'silent');
      const first = await Server.start(t, args, disk.env);
      const id = await create(first, 'counter');
      const acknowledged = await fillUp(first, id);
      await first.kill();
      disk.free();
      const second = await Server.start(t, args, disk.env);
      assertAllThere(await history(second, id, 100), acknowledged);
      for (const runId of acknowledged) {
        const outcome = await ended(second, id, runId);
        assert.ok(['completed', 'interrupted'].includes(outcome.state), JSON.stringify(outcome));
      }
      const { n } = await run<{ n: number }>(second, id, { by: 0, run: 'count' });
      assert.equal(n, (await history(second, id, 100)).filter((entry) => entry.role === 'assistant').length);
    });

    it('exits 74 at a shutdown that cannot save, naming who was not saved, and not 0', async (t) => {
      const disk = smallDisk(t);
      const args = flags(
        join(disk.dir, 'data'),
        AGENTS,
        '--threads',
        '1',
        '--log-level',
        'silent',
        '--flush-deadline-ms',
        '1000',
      );
      const first = await Server.start(t, args, disk.env);
      const filler = await create(first, 'counter');
      const unsaved = await create(first, 'process-flush');
      // Its state is larger than what the log has left when an input has been refused, so that it cannot be saved.
      await run(first, unsaved, { add: 5, pad: 'x'.repeat(4 * INPUT_BYTES) });
      const acknowledged = await fillUp(first, filler);
      // Small writes may still find room: not many.
      for (let created = 0, full = false; !full; created++) {
        const answer = await first.request('POST', '/api/sessions', { agent_profile: 'process-flush' });
        full = answer.status === 507;
        assert.ok(full || answer.status === 201, JSON.stringify(answer.body));
        assert.ok(created < 100, 'the room that an input did not find is enough for a hundred sessions');
      }
      const code = await first.stop();
      assert.equal(code, 74, first.stderr);
      disk.free();
      const second = await Server.start(t, args, disk.env);
      assertAllThere(await history(second, filler, 100), acknowledged);
      await accept(second, filler, { by: 1, run: 'later' });
      const { sum } = await run<{ sum: number }>(second, unsaved, { add: 0 });
      const saved = !(first.report['unflushed'] as string[]).includes(unsaved);
      assert.equal(sum, saved ? 5 : 0, 'what is not named was saved');
    });
  });
