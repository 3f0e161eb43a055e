// A blocking call cannot be stopped by anybody: it holds up neither the service, nor the shutdown, nor the exit.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, run } from './client.js';
import { until } from '../support/host.js';

/** An agent that reads a pipe to which nobody writes: when it is imported, or in the runs that say so. */
function reader(t: TestContext, { atImport } = { atImport: false }) {
  const dir = tempDir(t);
  const [pipe, begun, agent] = [join(dir, 'pipe'), join(dir, 'begun'), join(dir, 'agent.mjs')];
  execFileSync('mkfifo', [pipe]);
  writeFileSync(
    agent,
    `import { readFileSync, writeFileSync } from 'node:fs';
     const block = () => {
       writeFileSync(${JSON.stringify(begun)}, '');
       return readFileSync(${JSON.stringify(pipe)});
     };
     if (${atImport}) block();
     export default {
       profile: 'reader',
       start: () => ({ n: 0 }),
       run: (ctx, blocks) => (blocks ? block() : ++ctx.state.n),
     };`,
  );
  const args = ['--agents', agent, '--data', join(dir, 'data'), '--threads', '1', '--interrupt-grace-ms', '200'];
  return { args, begun };
}

test('an agent that reads a pipe to which nobody writes costs its thread alone, and the process ends', async (t) => {
  const { args, begun } = reader(t);
  const first = await Server.start(t, args);
  const [blocked, other] = [await create(first, 'reader'), await create(first, 'reader')];
  assert.equal(await run(first, other, false), 1);
  const runId = await accept(first, blocked, true);
  await until('it reads', async () => existsSync(begun));
  await first.request('POST', `/api/sessions/${blocked}/interrupt`, {});
  assert.equal((await ended(first, blocked, runId)).code, 'AGENT_UNRESPONSIVE');
  assert.equal(await run(first, other, false), 2);
  first.child.kill('SIGTERM');
  const { code, signal } = await first.exited;
  assert.deepEqual([code, signal], [null, 'SIGKILL'], first.stderr);
  assert.match(first.stderr, /1 threads are in blocking calls; killed instead of exit 0/);
  assert.deepEqual(first.report['unflushed'], []);
  const second = await Server.start(t, args);
  assert.equal(await run(second, other, false), 3);
});

test('a second signal ends the process although an agent reads such a pipe', async (t) => {
  const { args, begun } = reader(t);
  const server = await Server.start(t, [...args, '--drain-ms', '60000']);
  const id = await create(server, 'reader');
  await accept(server, id, true);
  await until('it reads', async () => existsSync(begun));
  server.child.kill('SIGTERM');
  await until('it drains', async () => (await server.request('GET', '/readyz')).status === 503);
  server.child.kill('SIGTERM');
  const { code, signal } = await server.exited;
  // A shell reads 143 of both.
  assert.deepEqual([code, signal], [null, 'SIGTERM'], server.stderr);
  assert.match(server.stderr, /1 threads are in blocking calls; killed instead of exit 143/);
});

test('a signal ends a start although a module reads such a pipe when it is imported', async (t) => {
  const { args, begun } = reader(t, { atImport: true });
  const server = new Server(['serve', ...args, '--port', '0']);
  t.after(() => server.kill());
  await until('it reads', async () => existsSync(begun));
  server.child.kill('SIGTERM');
  const { code, signal } = await server.exited;
  assert.deepEqual([code, signal], [null, 'SIGTERM'], server.stderr);
  assert.match(server.stderr, /^cabana: SIGTERM before it had started\n/);
});
