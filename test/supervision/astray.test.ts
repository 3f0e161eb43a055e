// Agents that go astray where neither their run nor their thread shows it at once: who is blamed, and that every run ends.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { launch } from '../main/launch.js';
import { testAgent, until } from '../support/host.js';
import { GRACE_MS, complete, gate, isRunning, outcome } from './house.js';

const agents = ['astray', 'supervision-cpu'].map(testAgent);

describe('code that holds a thread while a cpu run is in its yield', () => {
  /** A cpu run in its yields, and an io run that spins on their thread. */
  async function both(t: TestContext) {
    const host = await launch(t, { agents, threads: 1, interruptGraceMs: GRACE_MS });
    await host.create({ sessionId: 'good', agentProfile: 'supervision-cpu' });
    await host.create({ sessionId: 'bad', agentProfile: 'astray' });
    const [goods, bads] = [gate(t), gate(t)];
    const good = host.send('good', { how: 'slices', until: goods.path });
    await until('the good one runs', () => isRunning(host, 'good'));
    const bad = host.send('bad', { spinUntil: bads.path });
    await until('the bad one spins', () => existsSync(`${bads.path}.spins`));
    return { host, good, bad, openGood: goods.open };
  }

  it('is told from that run: the one that ignores its interrupt is blamed', async (t) => {
    const { host, good, bad, openGood } = await both(t);
    assert.equal(host.interrupt('bad'), bad.runId);
    assert.deepEqual(outcome(await bad.result), ['interrupted', 'AGENT_UNRESPONSIVE']);
    assert.deepEqual(outcome(await good.result), ['failed', 'THREAD_DIED']);
    openGood();
    assert.equal((await complete(host, 'good', { count: 1 })).n, 1);
    const strikes = ['good', 'bad'].map((id) => host.registry.sessionSummary(id)?.crashes ?? 0);
    assert.equal(strikes[0], 0, 'the good one is not held to account');
  });

  it('is told from that run: its own timeout does not make it the culprit', async (t) => {
    const { host, good, bad } = await both(t);
    assert.equal(host.interrupt('good'), good.runId);
    // Until the thread is taken to hang.
    assert.deepEqual(outcome(await good.result), ['failed', 'THREAD_DIED']);
    assert.deepEqual(outcome(await bad.result)[0], 'failed');
    assert.equal((await complete(host, 'good', { count: 1 })).n, 1);
    assert.equal(host.registry.sessionSummary('good')!.crashes, 0);
  });
});

describe('an entry that the store refuses', () => {
  it('ends its run with the reason, and its session comes back with what was before it', async (t) => {
    const host = await launch(t, { agents, threads: 1 });
    await host.create({ sessionId: 'a', agentProfile: 'astray' });
    await host.create({ sessionId: 'b', agentProfile: 'astray' });
    assert.equal(await complete(host, 'a', { say: 'kept' }), 1);
    const [state, code] = outcome(await host.send('a', { loseEntry: true }).result);
    assert.deepEqual([state, code], ['failed', 'JOURNAL_GAP']);
    assert.equal(await complete(host, 'a', { say: 'kept as well' }), 2);
    assert.ok(host.registry.get('a')!.epoch! > 1, 'under another epoch');
    const notes = (await host.messages('a'))!.messages.filter((entry) => entry['role'] === 'note');
    assert.deepEqual(
      notes.map((entry) => entry['text']),
      ['kept', 'kept as well'],
    );
    assert.equal(await complete(host, 'b', { say: 'of a neighbour' }), 1);
    const { unflushed, storageFailed } = await host.close();
    assert.deepEqual([unflushed, storageFailed], [[], false]);
  });
});
