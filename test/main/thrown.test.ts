// Whatever an agent throws, its run ends, with a text of bounded length, and nothing else is lost.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Host } from '../../src/main/index.js';
import { ERROR_MAX_CHARS } from '../../src/protocol/limits.js';
import { THROWN, type Thrown, type ThrowerInput } from '../agents/thrower.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch } from './launch.js';

const agents = [testAgent('thrower')];
const NAMES = Object.keys(THROWN) as Thrown[];

const throwerHost = async (t: TestContext, dataDir = tempDir(t)): Promise<Host> => {
  const host = await launch(t, { agents, dataDir, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'thrower' });
  return host;
};

const use = (host: Host, input: ThrowerInput) => host.send('a', input).result;

function assertText(text: string | null | undefined, name: Thrown): void {
  assert.ok(typeof text === 'string' && text.length > 0, name);
  assert.ok(text.length <= ERROR_MAX_CHARS + 3, `${name}: ${text.length} characters`);
  assert.ok(text.includes(THROWN[name][1]), `${name}: ${text}`);
}

for (const from of ['run', 'promise', 'generator'] as const) {
  test(`whatever is thrown (${from}) fails the run; the state is kept and the next run works`, async (t) => {
    const dataDir = tempDir(t);
    const host = await throwerHost(t, dataDir);
    let n = 0;
    for (const what of NAMES) {
      const run = await use(host, { what, from });
      assert.deepEqual([run.state, run.code, run.output], ['failed', 'AGENT_ERROR', null], what);
      assertText(run.error, what);
      assert.deepEqual(await host.run('a', run.id), run);
      const row = await host.registry.snapshot('a');
      assert.deepEqual([row?.status, row?.error, row?.errorCode], ['error', run.error, 'AGENT_ERROR'], what);
      const page = await host.messages('a', { limit: 1 });
      assert.equal(page?.messages[0]?.['error'], run.error, what);
      n += 2;
      assert.equal((await use(host, {})).output, n, what);
    }
    assert.deepEqual((await host.close()).unflushed, []);
    const next = await launch(t, { agents, dataDir, threads: 1 });
    assert.equal((await use(next, {})).output, n + 1);
  });
}

test('whatever a run throws when it is asked to stop ends it', async (t) => {
  const host = await throwerHost(t);
  for (const what of NAMES) {
    const run = host.send('a', { what, whenStopped: true });
    await until(`${what} waits`, () => host.registry.sessionSummary('a')?.progressLabel === 'waiting');
    host.interrupt('a', run.runId);
    const { state, code, error } = await run.result;
    assert.deepEqual([state, code], ['failed', 'AGENT_ERROR'], what);
    assertText(error, what);
  }
  assert.equal((await use(host, {})).output, NAMES.length + 1);
});

test('whatever start throws is told to whoever creates the session, and leaves nothing of it', async (t) => {
  const host = await throwerHost(t);
  for (const inStart of NAMES) {
    await assert.rejects(
      host.create({ sessionId: inStart, agentProfile: 'thrower', params: { inStart } }),
      (error: Error & { code: string }) => {
        assert.equal(error.code, 'RESTORE_FAILED', inStart);
        assert.ok(error.message.length <= 2 * ERROR_MAX_CHARS, inStart);
        return true;
      },
    );
    assert.equal(await host.registry.snapshot(inStart), undefined);
  }
  assert.equal((await use(host, {})).output, 1);
});
