// Agents as compilers and bundlers make them: they are the same agents.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch } from './launch.js';

function module(t: TestContext, name: string, code: string): string {
  const path = join(tempDir(t), name);
  writeFileSync(path, code);
  return path;
}

test('a default export that was compiled to CommonJS is the agent', async (t) => {
  const code = `
    Object.defineProperty(exports, '__esModule', { value: true });
    exports.default = { profile: 'compiled', start: () => ({ n: 0 }), run: (ctx) => ++ctx.state.n };`;
  const host = await launch(t, { threads: 1, agents: [module(t, 'compiled.js', code)] });
  await host.create({ sessionId: 'a', agentProfile: 'compiled' });
  assert.equal((await host.send('a', null).result).output, 1);
});

test('an agent that cannot find the package is told that it needs nothing of it, in CommonJS too', async (t) => {
  for (const [name, code] of [
    ['missing.cjs.js', `const { defineAgent } = require('cabana/agent'); module.exports = defineAgent({});`],
    ['missing.mjs', `import { defineAgent } from 'cabana/agent'; export default defineAgent({});`],
  ] as const) {
    const starting = launch(t, { threads: 1, agents: [module(t, name, code)] });
    await assert.rejects(starting, { code: 'AGENT_MODULE_INVALID', message: /a plain object works/ }, name);
  }
});

test('the AgentInterrupted of a bundle stops a run like the host’s own', async (t) => {
  const code = `
    class AgentInterrupted extends Error { name = 'AgentInterrupted'; }
    export default {
      profile: 'bundled',
      async run(ctx, throws) {
        ctx.progress(0.5, 'runs');
        while (!ctx.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 2));
        throw throws === 'its own' ? new AgentInterrupted('stopped') : new Error('something else');
      },
    };`;
  const host = await launch(t, { threads: 1, agents: [module(t, 'bundled.mjs', code)] });
  await host.create({ sessionId: 'a', agentProfile: 'bundled' });
  const outcomeOf = async (input: string) => {
    const run = host.send('a', input);
    await until('it runs', () => host.registry.sessionSummary('a')?.progressLabel === 'runs');
    host.interrupt('a');
    const { state, code: why } = await run.result;
    return [state, why];
  };
  assert.deepEqual(await outcomeOf('its own'), ['interrupted', 'RUN_INTERRUPTED']);
  assert.deepEqual(await outcomeOf('another'), ['failed', 'AGENT_ERROR']);
});

test('Errors, patterns and buffers of an agent are read as JSON like anything else', async (t) => {
  const code = `
    const values = () => ({
      error: Object.assign(new TypeError('the reason', { cause: new Error('the cause') }), { code: 'E_REASON' }),
      pattern: /a+/g,
      buffer: new Uint8Array([1, 2, 3]).buffer,
    });
    export default { profile: 'values', run(ctx) { ctx.history.append({ role: 'note', ...values() }); } };`;
  const host = await launch(t, { threads: 1, agents: [module(t, 'values.mjs', code)] });
  await host.create({ sessionId: 'a', agentProfile: 'values' });
  assert.equal((await host.send('a', null).result).state, 'completed');
  const note = (await host.messages('a'))!.messages.find(({ role }) => role === 'note')!;
  const { name, message, cause } = note['error'] as { name: string; message: string; cause: { message: string } };
  assert.deepEqual([name, message, cause.message], ['TypeError', 'the reason', 'the cause']);
  assert.deepEqual([note['pattern'], note['buffer']], ['/a+/g', 'AQID']);
});

test('what a session enters into an AsyncLocalStorage is not seen by the sessions after it', async (t) => {
  const code = `
    import { AsyncLocalStorage } from 'node:async_hooks';
    const tenant = new AsyncLocalStorage();
    export default {
      profile: 'tenants',
      load: 'io',
      start() { tenant.enterWith('somebody who starts'); },
      async run(ctx) {
        const before = tenant.getStore() ?? null;
        tenant.enterWith(ctx.sessionId);
        await new Promise((resolve) => setTimeout(resolve, 1));
        return [before, tenant.getStore()];
      },
    };`;
  const host = await launch(t, { threads: 1, agents: [module(t, 'tenants.mjs', code)] });
  for (const sessionId of ['a', 'b']) await host.create({ sessionId, agentProfile: 'tenants' });
  for (const id of ['a', 'b', 'a']) assert.deepEqual((await host.send(id, null).result).output, [null, id]);
  const together = await Promise.all(['a', 'b'].map((id) => host.send(id, null).result));
  assert.deepEqual(
    together.map(({ output }) => output),
    [
      [null, 'a'],
      [null, 'b'],
    ],
  );
});
