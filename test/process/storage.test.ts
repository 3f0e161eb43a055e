// A full disk: writes are refused, reads go on, and when there is room again so does everything; nothing is lost.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Server } from '../support/server.js';
import { accept, create, ended, flags, history, inParallel, run, type Entry } from './client.js';
import { until } from '../support/host.js';

const MEGABYTE = 1024 * 1024;
/** What each input adds that fills the disk. When one is refused, the log has less room than this and a few pages. */
const INPUT_BYTES = 64 * 1024;

interface SmallDisk {
  dir: string;
  /** Gives the ballast's room back. */
  free(): void;
}

/** A small file system of its own, most of it taken by ballast; null where this process may not mount one. */
function smallDisk(t: TestContext): SmallDisk | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return null;
  const dir = mkdtempSync(join(tmpdir(), 'cabana-disk-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', dir]).status === 0;
  t.after(() => {
    // Lazily: hooks run in the order of their making, so the servers that have files open there are still to be killed.
    if (mounted) spawnSync('umount', ['-l', dir]);
    rmdirSync(dir);
  });
  if (!mounted) return null;
  const ballast = join(dir, 'ballast');
  writeFileSync(ballast, Buffer.alloc(10 * MEGABYTE, 1));
  return { dir, free: () => rmSync(ballast) };
}

const NO_DISK = 'needs root on Linux, to mount a small tmpfs';
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

describe('a full disk', () => {
  it('refuses runs with 507 STORE_FULL, goes on with reads, and works again when there is room', async (t) => {
    const disk = smallDisk(t);
    if (!disk) return t.skip(NO_DISK);
    const data = join(disk.dir, 'data');
    const first = await Server.start(t, flags(data, AGENTS, '--threads', '1', '--log-level', 'silent'));
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

    const second = await Server.start(t, flags(data, AGENTS, '--threads', '1'));
    assertAllThere(await history(second, id, 100), acknowledged);
    assert.deepEqual(await run(second, id, { by: 0 }), { n: acknowledged.length });
    assert.deepEqual(await run(second, other, { add: 0 }), { sum: 5 });
  });

  it('has lost nothing acknowledged when the process is killed while it is full', async (t) => {
    const disk = smallDisk(t);
    if (!disk) return t.skip(NO_DISK);
    const args = flags(join(disk.dir, 'data'), AGENTS, '--threads', '1', '--log-level', 'silent');
    const first = await Server.start(t, args);
    const id = await create(first, 'counter');
    const acknowledged = await fillUp(first, id);
    await first.kill();
    disk.free();
    const second = await Server.start(t, args);
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
    if (!disk) return t.skip(NO_DISK);
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
    const first = await Server.start(t, args);
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
    const second = await Server.start(t, args);
    assertAllThere(await history(second, filler, 100), acknowledged);
    await accept(second, filler, { by: 1, run: 'later' });
    const { sum } = await run<{ sum: number }>(second, unsaved, { add: 0 });
    const saved = !(first.report['unflushed'] as string[]).includes(unsaved);
    assert.equal(sum, saved ? 5 : 0, 'what is not named was saved');
  });
});
