// A create whose start fails: as if it had never been, for whoever comes next.

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch } from './launch.js';

/** Says who it is in its history; fails if its params say so, when its run was accepted. */
const AGENT = `
  import { existsSync, writeFileSync } from 'node:fs';
  import { setTimeout as pause } from 'node:timers/promises';
  export default {
    profile: 'diarist',
    load: 'io',
    async start(ctx) {
      ctx.history.append({ role: 'note', of: ctx.sessionId });
      await ctx.history.durable();
      if (ctx.params.holdsUntil) {
        writeFileSync(ctx.params.holdsUntil + ' is awaited', '');
        while (!existsSync(ctx.params.holdsUntil));
      }
      while (ctx.params.waitFor && !existsSync(ctx.params.waitFor)) await pause(2);
      if (ctx.params.fails) throw new Error('it cannot start');
      return {};
    },
    run: (ctx, input) => input,
  };`;

test('a create that fails hands nothing of itself to the next session', async (t) => {
  const dir = tempDir(t);
  const [agent, gate] = [join(dir, 'agent.mjs'), join(dir, 'gate')];
  writeFileSync(agent, AGENT);
  const host = await launch(t, { agents: [agent] });
  const params = { fails: true, waitFor: gate };
  const created = assert.rejects(host.create({ sessionId: 'first', agentProfile: 'diarist', params }), {
    code: 'RESTORE_FAILED',
  });
  await until('it is being started', () => host.registry.get('first')?.state === 'restoring');
  const run = host.send('first', 'secret', { runId: 'r1' });
  const lost = assert.rejects(run.result);
  await run.accepted;
  writeFileSync(gate, '');
  await created;
  await lost;
  await host.create({ sessionId: 'second', agentProfile: 'diarist' });
  assert.equal(await host.run('second', 'r1'), undefined);
  const { messages } = (await host.messages('second'))!;
  assert.deepEqual(
    messages.map(({ seq, of }) => [seq, of]),
    [[1, 'second']],
  );
  assert.equal(await host.registry.snapshot('first'), undefined);
  // Its id is free.
  assert.equal(await host.create({ sessionId: 'first', agentProfile: 'diarist' }), 'first');
  assert.deepEqual(
    (await host.messages('first'))!.messages.map(({ of }) => of),
    ['first'],
  );
});

test('a session that is deleted while its creation waits for a thread was created, and is deleted', async (t) => {
  const dir = tempDir(t);
  const [agent, gate] = [join(dir, 'agent.mjs'), join(dir, 'gate')];
  writeFileSync(agent, AGENT);
  const host = await launch(t, { agents: [agent], threads: 1 });
  const create = (sessionId: string, params = {}) => host.create({ sessionId, agentProfile: 'diarist', params });
  // Its thread does nothing else meanwhile.
  const holds = create('holds', { holdsUntil: gate });
  await until('it holds the thread', () => existsSync(`${gate} is awaited`));
  const created = create('a');
  await until('it is on disk', () => host.registry.get('a')?.state === 'restoring');
  const run = host.send('a', 'old', { runId: 'r1' });
  await run.accepted;
  const deleted = host.registry.delete('a');
  const again = create('a');
  assert.equal(await created, 'a');
  assert.equal(await deleted, true, 'there was something to delete');
  await assert.rejects(again, { code: 'SESSION_EXISTS' });
  const { state, code } = await run.result;
  assert.deepEqual([state, code], ['interrupted', 'SESSION_DELETED']);
  writeFileSync(gate, '');
  await holds;
  assert.equal(await host.run('a', 'r1'), undefined);
});

test('who listened before a create that failed hears of the next session; who came during it, only of that one', async (t) => {
  const dir = tempDir(t);
  const [agent, gate] = [join(dir, 'agent.mjs'), join(dir, 'gate')];
  writeFileSync(agent, AGENT);
  const host = await launch(t, { agents: [agent] });
  const events = host.subscribe('first');
  const create = (params: Record<string, unknown>) =>
    host.create({ sessionId: 'first', agentProfile: 'diarist', params });
  const failed = assert.rejects(create({ fails: true, waitFor: gate }), { code: 'RESTORE_FAILED' });
  // Of the one that fails.
  assert.equal((await events.next()).value?.type, 'entry');
  const ofThisOne = host.subscribe('first');
  writeFileSync(gate, '');
  await failed;
  assert.equal((await ofThisOne.next()).done, true);
  await create({});
  const { value } = await events.next();
  assert.deepEqual(value?.type === 'entry' && value.entry, { role: 'note', of: 'first' });
  events.close();
});
