// Agents on their way out of memory: whoever else wants a thread meanwhile has one, and what they come back with is what
// they had.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { launchWithClock } from '../main/launch.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { complete, gate, house, inhabit, isRunning, leave, occupy, outcome } from './house.js';

const stateOf = (host: Awaited<ReturnType<typeof house>>, id: string) => host.registry.get(id)?.state;

it('a session that waits to be saved keeps no thread from the others', async (t) => {
  const host = await house(t, { threads: 2 });
  await inhabit(host, 'flush');
  await complete(host, 'flush', { count: 1 });
  const home = host.registry.get('flush')!.thread;
  // Two, of which one is at home where the unsaved one is.
  await inhabit(host, 'cpu1', 'cpu2');
  const busy = ['cpu1', 'cpu2'].find((id) => host.registry.get(id)!.thread === home)!;
  const { path, open } = gate(t);
  const long = host.send(busy, { how: 'spin', until: path });
  await until('its thread is held', () => isRunning(host, busy));
  const moves = host.send('flush', { count: 1 });
  await until('it is being saved, so as to run elsewhere', () => stateOf(host, 'flush') === 'flushing');
  const free = busy === 'cpu1' ? 'cpu2' : 'cpu1';
  assert.equal((await complete(host, free, { count: 1 })).n, 1);
  // What waits like that has not begun, and is asked to stop like all that waits.
  const stopped = host.send('flush', { count: 1 });
  await stopped.accepted;
  assert.equal(host.interrupt('flush', stopped.runId), stopped.runId);
  assert.deepEqual(outcome(await stopped.result), ['interrupted', 'RUN_INTERRUPTED']);
  open();
  assert.deepEqual(outcome(await long.result), ['completed', null]);
  assert.deepEqual(outcome(await moves.result), ['completed', null]);
});

describe('a flush that waits for a busy thread', () => {
  const flushed = (host: Awaited<ReturnType<typeof house>>, id: string): Promise<void> =>
    host.registry.eachLiveAgent((each, agent) => (each === id ? agent.flush() : undefined));

  it('is not refused because the session runs elsewhere meanwhile, or is deleted', async (t) => {
    const host = await house(t, { threads: 2 });
    await inhabit(host, 'cpu1', 'cpu2', 'cpu3', 'cpu4');
    const [busy, ...others] = ['cpu1', 'cpu2', 'cpu3', 'cpu4'];
    const home = host.registry.get(busy)!.thread;
    const moves = others.find((id) => host.registry.get(id)!.thread === home)!;
    const held = await occupy(t, host, busy);
    const flush = flushed(host, moves);
    // Everything of it is on disk: it does not wait for its thread, which hears of the flush only then.
    assert.equal((await complete(host, moves, { count: 1 })).n, 1);
    assert.notEqual(host.registry.get(moves)!.thread, home);
    held.letGo();
    await flush;

    const gone = others.find((id) => id !== moves && host.registry.get(id)!.thread !== home)!;
    const neighbour = others.find(
      (id) => id !== gone && host.registry.get(id)!.thread === host.registry.get(gone)!.thread,
    );
    const again = await occupy(t, host, neighbour!);
    const late = flushed(host, gone);
    assert.equal(await host.registry.delete(gone), true);
    again.letGo();
    await late;
  });
});

describe('a compaction', () => {
  for (const [what, away] of [
    ['an eviction', (host) => leave(host, 'compact')],
    ['a flush', (host) => host.registry.eachLiveAgent((_, agent) => agent.flush())],
    ['withSession()', (host) => host.registry.withSession('compact', () => undefined).then(() => undefined)],
  ] as [string, (host: Awaited<ReturnType<typeof house>>) => Promise<void>][]) {
    it(`steps back for ${what}`, async (t) => {
      const agents = [testAgent('supervision-compact')];
      const { host, clock } = await launchWithClock(t, { threads: 1, agents, compactAfterMs: 1_000, maxIdleAgents: 0 });
      await host.create({ sessionId: 'compact', agentProfile: 'supervision-compact' });
      // Watched, so that it stays.
      const stream = host.subscribe('compact');
      const { path } = gate(t);
      await complete(host, 'compact', { add: 1, until: path, how: 'wait' });
      clock.sleep(2_000);
      await until('it compacts', () => {
        clock.advance(500);
        return host.registry.sessionSummary('compact')?.progressLabel === 'compacting';
      });
      await stream.return();
      await away(host);
      const { log } = await complete<{ log: number[] }>(host, 'compact', { until: null });
      assert.deepEqual(log, [1]);
    });
  }

  it('that was undone is undone for the next activation as well, with what it had appended', async (t) => {
    const dir = tempDir(t);
    const module = join(dir, 'summing.mjs');
    writeFileSync(
      module,
      `export default {
         profile: 'summing',
         start: () => ({ log: [] }),
         restore(ctx, saved, tail) {
           for (const { role, text } of tail) {
             if (role === 'said') saved.log.push(text);
             if (role === 'summary') saved.log = [text];
           }
           return saved;
         },
         run(ctx, text) {
           if (text === 'exit') process.exit(7);
           ctx.history.append({ role: 'said', text });
           ctx.state.log.push(text);
           return ctx.state.log;
         },
         async compact(ctx) {
           ctx.history.append({ role: 'summary', text: ctx.state.log.join(' and ') });
           ctx.state.log = ['half done'];
           ctx.progress(0.5, 'compacting');
           await new Promise((resolve, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason)));
         },
       };`,
    );
    const { host, clock } = await launchWithClock(t, { threads: 1, agents: [module], compactAfterMs: 1_000 });
    for (const sessionId of ['a', 'b']) await host.create({ sessionId, agentProfile: 'summing' });
    for (const text of ['one', 'two']) await complete(host, 'a', text);
    clock.sleep(2_000);
    await until('it compacts', () => {
      clock.advance(500);
      return host.registry.sessionSummary('a')?.progressLabel === 'compacting';
    });
    await complete(host, 'b', 'steps back for me');
    assert.equal((await host.send('b', 'exit').result).code, 'AGENT_CRASHED');
    assert.deepEqual(await complete(host, 'a', 'three'), ['one', 'two', 'three']);
  });
});
