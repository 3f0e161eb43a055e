// Compaction: once after a while of idleness, undone when somebody needs the session, and told in the history.

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Host } from '../../src/main/index.js';
import { until } from '../support/host.js';
import {
  ANSWER_MAX_MS,
  GRACE_MS,
  complete,
  gate,
  house,
  houseWithClock,
  inhabit,
  occupy,
  outcome,
  timed,
} from './house.js';
import type { CompactInput, CompactState } from '../agents/supervision-compact.js';
import { closeQuickly, type SleepyClock } from '../main/launch.js';

const IDLE_MS = 60_000;

const run = (host: Host, input: CompactInput = {}, id = 'compact'): Promise<CompactState> =>
  complete<CompactState>(host, id, input);

/** The states of a session's compactions, as its history tells them. */
async function told(host: Host, id = 'compact'): Promise<unknown[]> {
  const page = await host.messages(id, { limit: 1_000 });
  return page!.messages.filter((entry) => entry['role'] === 'compaction').map((entry) => entry['state']);
}

/** A while of idleness passes; then the sweeps, until the condition holds. */
async function idleUntil(clock: SleepyClock, what: string, condition: () => boolean): Promise<void> {
  clock.sleep(IDLE_MS);
  await until(what, () => {
    clock.advance(500);
    return condition();
  });
}

const isCompacting = (host: Host, id = 'compact'): boolean =>
  host.registry.sessionSummary(id)?.progressLabel === 'compacting';

async function compactingHouse(t: TestContext, how: 'spin' | 'wait', threads = 1) {
  const { host, clock } = await houseWithClock(t, { threads, compactAfterMs: IDLE_MS });
  await inhabit(host, 'compact');
  const { path, open } = gate(t);
  for (const add of [1, 2, 3]) await run(host, { add });
  await run(host, { until: path, how });
  await idleUntil(clock, 'it compacts', () => isCompacting(host));
  return { host, clock, open };
}

describe('compaction', () => {
  it('happens once after the idleness, and again only after another run', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 1, compactAfterMs: IDLE_MS });
    await inhabit(host, 'compact', 'cpu');
    for (const add of [1, 2, 3]) await run(host, { add });
    const seq = (): number => host.registry.sessionSummary('compact')!.durableSeq;
    clock.sleep(IDLE_MS - 2_000);
    clock.advance(1_000);
    await complete(host, 'cpu');
    assert.deepEqual([await told(host), seq()], [[], 6], 'not before its time');
    await idleUntil(clock, 'it was compacted', () => seq() === 7);
    assert.deepEqual(await told(host), ['completed']);
    for (let i = 0; i < 5; i++) {
      clock.sleep(IDLE_MS);
      clock.advance(2_000);
      await complete(host, 'cpu');
    }
    assert.deepEqual(await told(host), ['completed']);
    const state = await run(host, { add: 4 });
    assert.deepEqual([state.log, state.compactions], [[6, 4], 1]);
    await idleUntil(clock, 'it was compacted again', () => seq() === 10);
    assert.deepEqual(await told(host), ['completed', 'completed']);
    assert.deepEqual([(await run(host)).log, (await run(host)).compactions], [[10], 2]);
  });

  it('takes one agent after the other while the thread is free', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 1, compactAfterMs: IDLE_MS });
    const ids = [1, 2, 3, 4, 5].map((n) => `compact${n}`);
    await inhabit(host, ...ids);
    for (const id of ids) await run(host, { add: 1 }, id);
    clock.sleep(IDLE_MS);
    // One sweep, and no other.
    clock.advance(1_000);
    await until('all were compacted', () => ids.every((id) => host.registry.sessionSummary(id)!.durableSeq === 3));
    for (const id of ids) assert.deepEqual(await told(host, id), ['completed']);
  });

  it('that had to step back lets others go first, and is tried less and less often', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 1, compactAfterMs: IDLE_MS, interruptGraceMs: 30_000 });
    await inhabit(host, 'compact', 'compact2', 'cpu');
    const { path, open } = gate(t);
    await run(host, { add: 1, until: path });
    await run(host, { add: 1 }, 'compact2');
    const stepsBack = async (): Promise<void> => {
      await complete(host, 'cpu');
      await until('it has stepped back', () => !isCompacting(host));
    };
    await idleUntil(clock, 'the one that was used longer ago compacts', () => isCompacting(host));
    await stepsBack();
    clock.advance(1_000);
    await until('the other was compacted', () => host.registry.sessionSummary('compact2')!.durableSeq === 3);
    let sweeps = 0;
    for (let times = 2; times <= 4; times++) {
      await until('it is tried again', () => {
        clock.advance(1_000);
        sweeps++;
        return isCompacting(host);
      });
      await stepsBack();
    }
    assert.ok(sweeps >= 1 + 4 + 8, `${sweeps} sweeps of a second`);
    open();
    const seq = host.registry.sessionSummary('compact')!.durableSeq;
    await idleUntil(clock, 'it was compacted', () => host.registry.sessionSummary('compact')!.durableSeq > seq);
    assert.deepEqual((await told(host)).at(-1), 'completed');
  });

  it('that could not be saved is not taken for saved', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 1, compactAfterMs: IDLE_MS });
    await inhabit(host, 'compact');
    await run(host, { add: 1, unsaveable: true });
    await idleUntil(clock, 'it was compacted', () => host.registry.sessionSummary('compact')?.durableSeq === 3);
    const { live, unflushed } = await closeQuickly(host, clock);
    assert.deepEqual([live, unflushed], [1, ['compact']]);
  });

  it('is not forgotten because the session was brought up elsewhere when its thread was given up', async (t) => {
    const options = { threads: 1, compactAfterMs: IDLE_MS, interruptGraceMs: GRACE_MS };
    const { host, clock } = await houseWithClock(t, options);
    await inhabit(host, 'compact', 'cpu');
    for (const add of [1, 2, 3]) await run(host, { add });
    const { run: deaf } = await occupy(t, host, 'cpu', { count: 1, deaf: true });
    host.interrupt('cpu');
    assert.deepEqual(outcome(await deaf.result), ['interrupted', 'AGENT_UNRESPONSIVE']);
    assert.equal(await host.registry.ensure('compact'), true);
    const seq = (): number => host.registry.sessionSummary('compact')!.durableSeq;
    await idleUntil(clock, 'it was compacted', () => seq() === 7);
    assert.deepEqual(await told(host), ['completed']);
  });

  it('is not repeated because the session left memory and came back', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 1, compactAfterMs: IDLE_MS, maxIdleAgents: 1 });
    await inhabit(host, 'compact');
    await run(host, { add: 1 });
    await idleUntil(clock, 'it was compacted', () => host.registry.sessionSummary('compact')?.durableSeq === 3);
    await inhabit(host, 'cpu');
    await complete(host, 'cpu');
    await until('it has left memory', () => {
      clock.advance(500);
      return !host.registry.exists('compact');
    });
    assert.deepEqual(await told(host), ['completed']);
    assert.equal(await host.registry.ensure('compact'), true);
    clock.sleep(IDLE_MS);
    // Watched, so that it stays.
    const stream = host.subscribe('compact');
    for (let i = 0; i < 4; i++) {
      clock.advance(1_000);
      await complete(host, 'cpu');
    }
    await stream.return();
    assert.deepEqual(await told(host), ['completed']);
  });

  it('that cannot be undone costs the activation, and not what was before it', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 1, compactAfterMs: IDLE_MS });
    await inhabit(host, 'compact');
    const { path, open } = gate(t);
    for (const add of [1, 2, 3]) await run(host, { add });
    await run(host, { until: path, unrestorable: true });
    await idleUntil(clock, 'it compacts', () => isCompacting(host));
    const epoch = host.registry.get('compact')!.epoch!;
    const state = await run(host, { add: 4, until: null });
    assert.deepEqual([state.log, state.compactions], [[1, 2, 3, 4], 0]);
    assert.ok(host.registry.get('compact')!.epoch! > epoch);
    assert.deepEqual(await told(host), ['interrupted']);
    open();
  });

  it('keeps what it did, across a restart of the agent', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 1, compactAfterMs: IDLE_MS });
    await inhabit(host, 'compact', 'cpu');
    for (const add of [1, 2, 3]) await run(host, { add });
    await idleUntil(clock, 'it was compacted', () => host.registry.sessionSummary('compact')?.durableSeq === 7);
    await host.send('cpu', { crash: 'exit' }).result;
    const state = await run(host, { add: 4 });
    assert.deepEqual([state.log, state.compactions], [[6, 4], 1]);
  });

  for (const how of ['spin', 'wait'] as const) {
    it(`steps back for new input, which finds the state as it was (${how})`, async (t) => {
      const { host, clock, open } = await compactingHouse(t, how);
      const { value, ms } = await timed(run(host, { add: 4, until: null }));
      assert.deepEqual([value.log, value.compactions], [[1, 2, 3, 4], 0]);
      assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
      assert.deepEqual(await told(host), ['interrupted']);
      open();
      await idleUntil(clock, 'it is compacted later', () => host.registry.sessionSummary('compact')!.durableSeq === 12);
      assert.deepEqual(await told(host), ['interrupted', 'completed']);
      assert.deepEqual((await run(host)).log, [10]);
    });

    it(`is not waited for by a deletion (${how})`, async (t) => {
      const { host } = await compactingHouse(t, how);
      const { value, ms } = await timed(host.registry.delete('compact'));
      assert.equal(value, true);
      assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
      assert.equal(await host.registry.ensure('compact'), false);
    });

    it(`is not waited for by a run of another session on its thread (${how})`, async (t) => {
      const { host } = await compactingHouse(t, how);
      await inhabit(host, 'cpu');
      const { ms } = await timed(complete(host, 'cpu', { count: 1 }));
      assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
      const { log } = await run(host, { until: null });
      assert.deepEqual(log, [1, 2, 3]);
    });
  }

  it('is not waited for by the close of the host, and leaves nothing half done', async (t) => {
    const { host } = await houseThatCompacts(t);
    const { ms } = await timed(host.close());
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    const again = await house(t, { dataDir: host.config.dataDir, threads: 1 });
    const { log, compactions } = await run(again, { until: null });
    assert.deepEqual([log, compactions], [[1, 2, 3], 0]);
  });
});

/** By the real clock: a host that compacts at once, and is in the middle of it. */
async function houseThatCompacts(t: TestContext) {
  const host = await house(t, { threads: 1, compactAfterMs: 200 });
  await inhabit(host, 'compact');
  const { path } = gate(t);
  const runs = [{ add: 1 }, { add: 2 }, { add: 3, until: path, how: 'wait' as const }].map((input) =>
    host.send('compact', input),
  );
  for (const { result } of runs) assert.deepEqual(outcome(await result), ['completed', null]);
  await until('it compacts', () => isCompacting(host));
  return { host };
}
