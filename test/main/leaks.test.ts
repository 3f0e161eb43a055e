// What a host leaves behind in a process that goes on: nothing.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { collectGarbage } from '../../src/worker/garbage.js';
import { VirtualClock } from '../support/clock.js';
import { startHost, testAgent } from '../support/host.js';
import { tempDir } from '../support/temp.js';

const CLOSED_HOSTS = fileURLToPath(new URL('./closed-hosts.js', import.meta.url));

test('a closed host is garbage, and its threads with it', async (t) => {
  const options = { agents: [testAgent('crasher')], dataDir: tempDir(t), threads: 1, restoreSessions: 0 };
  const child = fork(CLOSED_HOSTS, [JSON.stringify(options)], { execArgv: [] });
  t.after(() => child.kill('SIGKILL'));
  const [left] = (await once(child, 'message')) as [number];
  assert.equal(left, 0);
});

test('polls of a run that goes on leave nothing behind, and one that is under way is told of its end', async (t) => {
  const clock = new VirtualClock();
  const host = await startHost(t, { clock });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  const run = host.send('a', { sleepMs: 1_000_000 }, { runId: 'r' });
  await run.accepted;
  const poll = async (times: number): Promise<void> => {
    const polls = Array.from({ length: times }, async () => host.pending('a', 'r', 1_000));
    clock.advance(1_000);
    assert.deepEqual([...new Set(await Promise.all(polls))], [undefined]);
  };
  const heapBytes = (): number => {
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };
  await poll(1_000);
  const before = heapBytes();
  for (let i = 0; i < 50; i++) await poll(1_000);
  const grewBytes = heapBytes() - before;
  const last = host.pending('a', 'r', 1_000);
  host.interrupt('a');
  assert.equal((await last)?.state, 'interrupted');
  assert.deepEqual(await last, await run.result);
  assert.ok(grewBytes < 50_000 * 100, `${grewBytes} bytes after 50,000 polls`);
});
