// Saves that take their time: what is stored last is what was taken last, and never half of a compaction.

import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Host, HostOptions } from '../../src/main/index.js';
import { launchWithClock } from '../main/launch.js';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { complete } from './house.js';

/** The first save of N that finds the file hold-N makes it waits-N, and waits while that is there. */
const SLOW = `
  import { existsSync, renameSync } from 'node:fs';
  import { join } from 'node:path';
  import { setTimeout as pause } from 'node:timers/promises';
  export default {
    profile: 'slow',
    load: 'io',
    saveWhen: 'flush',
    start: () => ({ n: 0 }),
    async save({ state, params: { dir } }) {
      const { n } = state;
      const [hold, waits] = ['hold-', 'waits-'].map((name) => join(dir, name + n));
      if (existsSync(hold)) {
        renameSync(hold, waits);
        for (let i = 0; i < 10_000 && existsSync(waits); i++) await pause(5);
      }
      return { n };
    },
    async run(ctx, what) {
      ctx.state.n++;
      if (what === 'once more') {
        while (!existsSync(join(ctx.params.dir, 'go'))) await pause(5, undefined, { signal: ctx.signal });
        ctx.state.n++;
        ctx.progress(0.5, 'went');
        await pause(60_000, undefined, { signal: ctx.signal });
      }
      return ctx.state.n;
    },
    async compact(ctx) {
      ctx.history.append({ role: 'note', text: 'compacting' });
      ctx.state.n = -1;
      ctx.progress(0.5, 'compacting');
      await new Promise((resolve, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason)));
    },
  };`;
/** Of 'io': no compaction steps back for it. */
const CRASHER = `export default { profile: 'crasher', load: 'io', run: () => process.exit(7) };`;

async function slowHost(t: TestContext, sessionIds: string[], options: Partial<HostOptions> = {}) {
  const dir = tempDir(t);
  const agents = [join(dir, 'slow.mjs'), join(dir, 'crasher.mjs')];
  writeFileSync(agents[0]!, SLOW);
  writeFileSync(agents[1]!, CRASHER);
  const { host, clock } = await launchWithClock(t, { threads: 1, agents, compactAfterMs: 1_000, ...options });
  // Threads are replaced after waits of this clock.
  const moving = setInterval(() => clock.advance(10), 5);
  t.after(() => clearInterval(moving));
  for (const sessionId of sessionIds) await host.create({ sessionId, agentProfile: 'slow', params: { dir } });
  await host.create({ sessionId: 'crasher', agentProfile: 'crasher' });
  return { host, clock, file: (name: string) => join(dir, name) };
}

function flush(host: Host, id: string): Promise<void> {
  return host.registry.eachLiveAgent((each, agent) => (each === id ? agent.flush() : undefined));
}

/** The thread dies, and with it what is not on disk. */
async function crash(host: Host): Promise<void> {
  assert.equal((await host.send('crasher', null).result).code, 'AGENT_CRASHED');
}

test('of two flushes the one that began later is stored last, however long each save takes', async (t) => {
  const { host, file } = await slowHost(t, ['a', 'other']);
  const run = host.send('a', 'once more', { runTimeoutMs: 600_000 });
  writeFileSync(file('hold-1'), '');
  await until('it runs', () => host.registry.get('a')?.state === 'running');
  const first = flush(host, 'a');
  await until('its save waits', () => existsSync(file('waits-1')));
  writeFileSync(file('go'), '');
  await until('it went on', () => host.registry.sessionSummary('a')?.progressLabel === 'went');
  const second = flush(host, 'a');
  // Behind this the thread has been asked for the second one.
  await complete(host, 'other');
  await flush(host, 'other');
  rmSync(file('waits-1'));
  await Promise.all([first, second]);
  await crash(host);
  assert.equal((await run.result).state, 'failed');
  assert.equal(await complete(host, 'a'), 3, 'the state of the second flush, and one more');
});

test('a compaction that is due during a flush waits for it', async (t) => {
  const { host, clock, file } = await slowHost(t, ['a', 'other']);
  assert.equal(await complete(host, 'a'), 1);
  writeFileSync(file('hold-1'), '');
  const flushing = flush(host, 'a');
  await until('its save waits', () => existsSync(file('waits-1')));
  clock.sleep(2_000);
  await until('it is to be compacted', () => host.threads()[0]!.state === 'busy');
  // Behind this the thread has been asked for the compaction.
  await flush(host, 'other');
  rmSync(file('waits-1'));
  await flushing;
  await until('it compacts', () => host.registry.sessionSummary('a')?.progressLabel === 'compacting');
  await crash(host);
  assert.equal(await complete(host, 'a'), 2);
});

test('a run that is sent while its session is saved to leave memory starts as soon as it has left', async (t) => {
  const { host, file } = await slowHost(t, ['a'], { maxIdleAgents: 0, compactAfterMs: 600_000 });
  writeFileSync(file('hold-1'), '');
  assert.equal(await complete(host, 'a'), 1);
  // By this, or by the host's own timer.
  const evicted = host.registry.evictExcessIdle();
  await until('its save waits', () => existsSync(file('waits-1')));
  const run = host.send('a', null);
  await run.accepted;
  rmSync(file('waits-1'));
  await evicted;
  // Nothing else happens here that would have anybody look at the line.
  assert.equal((await run.result).output, 2);
});
