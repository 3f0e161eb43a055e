// A create whose start fails: as if it had never been, for whoever comes next.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch } from './launch.js';

/** Says who it is in its history; fails if its params say so, when its run was accepted. */
const AGENT = `
  import { existsSync } from 'node:fs';
  import { setTimeout as pause } from 'node:timers/promises';
  export default {
    profile: 'diarist',
    load: 'io',
    async start(ctx) {
      ctx.history.append({ role: 'note', of: ctx.sessionId });
      await ctx.history.durable();
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
