// The next run in a thread's hand: begun without main, or taken back; never both, never neither. Main is kept from its
// event loop on purpose here, so that a thread begins a run of which main has yet to hear.

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Host, RunHandle, RunInfo } from '../../src/main/index.js';
import type { Act, ActAnswer } from '../agents/supervision-act.js';
import { complete, counts, hasCounted, house, inhabit, occupy, outcome } from './house.js';

const BEGUN_MAX_MS = 60_000;
/** What makes an input large. */
const pad = { pad: 'x'.repeat(1_000_000) };

/** One thread that 'cpu1' holds, with runs for the others that were accepted behind it; `idle` live there as well. */
async function queue(t: TestContext, inputs: Record<string, Act>, ...idle: string[]) {
  const host = await house(t, { threads: 1 });
  await inhabit(host, 'cpu1', ...Object.keys(inputs), ...idle);
  const { run: first, letGo } = await occupy(t, host, 'cpu1', { count: 1 });
  const runs: Record<string, RunHandle> = {};
  for (const [id, input] of Object.entries(inputs)) {
    runs[id] = host.send(id, input);
    await runs[id].accepted;
  }
  return { host, first, runs, letGo };
}

/** Without giving main's event loop a turn: the thread has ended the run before, holds this session's, and has counted. */
function beginsUnseen(host: Host, id: string, entries = 0): void {
  const startedAt = performance.now();
  while (host.threads()[0]!.sessionId !== id || !hasCounted(host, id, entries)) {
    assert.ok(performance.now() - startedAt < BEGUN_MAX_MS, `the thread did not begin ${id}'s run by itself`);
  }
}

/** The ids of the runs, all of one thread, in the order in which it began them. */
const orderOf = async (runs: readonly RunHandle[]): Promise<string[]> => {
  const infos = await Promise.all(runs.map(({ result }) => result));
  for (const info of infos) assert.deepEqual(outcome(info), ['completed', null]);
  const begun = ({ output }: RunInfo): number => (output as ActAnswer).begun;
  return infos.sort((a, b) => begun(a) - begun(b)).map(({ id }) => id);
};

describe('a run that its thread begins by itself', () => {
  it('is the one whose turn it is, and those behind it keep their order', async (t) => {
    const { host, first, runs, letGo } = await queue(t, { cpu2: { count: 1 }, cpu3: { count: 1 }, cpu4: { count: 1 } });
    const again = host.send('cpu2', { count: 1 });
    await again.accepted;
    letGo();
    const all = [first, ...Object.values(runs), again];
    assert.deepEqual(
      await orderOf(all),
      all.map(({ runId }) => runId),
    );
    assert.deepEqual(await counts(host, 'cpu2'), [1, 2]);
    for (const id of ['cpu2', 'cpu3', 'cpu4']) assert.equal(host.registry.get(id)!.epoch, 1, 'nobody moved');
  });

  it('can be interrupted before main has heard that it began', async (t) => {
    const { host, first, runs, letGo } = await queue(t, { cpu2: { count: 1, how: 'spin', ms: 15_000 } });
    letGo();
    // Its input and its count.
    beginsUnseen(host, 'cpu2', 2);
    assert.equal(host.interrupt('cpu2'), runs['cpu2']!.runId);
    assert.equal(host.registry.countByStatus('running'), 2, 'nobody has heard of the end of the one before either');
    assert.deepEqual(outcome(await runs['cpu2']!.result), ['interrupted', 'RUN_INTERRUPTED']);
    assert.deepEqual(outcome(await first.result), ['completed', null]);
    assert.deepEqual(await counts(host, 'cpu2'), [1]);
  });

  it('ends with its session, when that is deleted before main has heard that it began', async (t) => {
    const { host, first, runs, letGo } = await queue(t, { cpu2: { how: 'spin', ms: 15_000 }, cpu3: { count: 1 } });
    letGo();
    beginsUnseen(host, 'cpu2');
    assert.equal(await host.registry.delete('cpu2'), true);
    const { state, error } = await runs['cpu2']!.result;
    assert.deepEqual([state, error], ['interrupted', 'Session deleted']);
    assert.deepEqual(outcome(await runs['cpu3']!.result), ['completed', null]);
    assert.deepEqual(outcome(await first.result), ['completed', null]);
    assert.equal(await host.registry.snapshot('cpu2'), undefined);
  });

  it('is the one that is blamed, when it takes the thread down before main has heard that it began', async (t) => {
    const { host, first, runs, letGo } = await queue(t, { cpu2: { count: 1, crash: 'exit' }, cpu3: { count: 1 } });
    letGo();
    beginsUnseen(host, 'cpu2');
    assert.deepEqual(outcome(await runs['cpu2']!.result), ['failed', 'AGENT_CRASHED']);
    assert.deepEqual(outcome(await first.result), ['completed', null]);
    assert.deepEqual(outcome(await runs['cpu3']!.result), ['completed', null]);
    assert.deepEqual(await counts(host, 'cpu2'), [1]);
    assert.equal(host.registry.sessionSummary('cpu3')!.crashes, 0);
  });
});

describe('a run that was put into its thread’s hand and is taken back', () => {
  it('never begins, when it is interrupted while it waits', async (t) => {
    const { host, first, runs, letGo } = await queue(t, { cpu2: { count: 1 }, cpu3: { count: 1 } });
    assert.equal(host.interrupt('cpu2', runs['cpu2']!.runId), runs['cpu2']!.runId);
    letGo();
    const info = await runs['cpu2']!.result;
    assert.deepEqual([...outcome(info), info.startedAt], ['interrupted', 'RUN_INTERRUPTED', null]);
    for (const run of [first, runs['cpu3']!]) assert.deepEqual(outcome(await run.result), ['completed', null]);
    assert.deepEqual(await counts(host, 'cpu2'), []);
  });

  it('makes way for one of higher priority', async (t) => {
    const { host, first, runs, letGo } = await queue(t, { cpu2: { count: 1 }, cpu3: { count: 1 } }, 'cpu4');
    const urgent = host.send('cpu4', { count: 1 }, { priority: 5 });
    await urgent.accepted;
    // Behind its own session's earlier run, however urgent it is.
    const behind = host.send('cpu3', { count: 1 }, { priority: 5 });
    await behind.accepted;
    letGo();
    const all = [first, urgent, runs['cpu2']!, runs['cpu3']!, behind];
    assert.deepEqual(
      await orderOf(all),
      all.map(({ runId }) => runId),
    );
  });

  it('does not begin while somebody has its session to himself', async (t) => {
    const { host, first, runs, letGo } = await queue(t, { cpu2: { count: 1 } });
    const state = await host.registry.withSession('cpu2', async (session) => {
      letGo();
      // Its outcome is on disk: the thread has been free for a while.
      await first.result;
      return [session.state, host.threads()[0]!.sessionId];
    });
    assert.deepEqual(state, ['idle', null]);
    assert.deepEqual(outcome(await runs['cpu2']!.result), ['completed', null]);
    assert.deepEqual(await counts(host, 'cpu2'), [1]);
  });

  it('goes to another thread that becomes free, and is begun once', async (t) => {
    const host = await house(t, { threads: 2 });
    const ids = Array.from({ length: 6 }, (_, i) => `cpu${i + 1}`);
    await inhabit(host, ...ids);
    const on = (no: number): string[] => ids.filter((id) => host.registry.get(id)!.thread === no);
    const [[here, waits], [there]] = [on(0), on(1)];
    const held = [await occupy(t, host, here!), await occupy(t, host, there!)] as const;
    const run = host.send(waits!, { count: 1 });
    await run.accepted;
    held[1].letGo();
    assert.deepEqual(outcome(await run.result), ['completed', null]);
    assert.equal(host.registry.get(waits!)!.thread, 1);
    held[0].letGo();
    for (const { run } of held) assert.deepEqual(outcome(await run.result), ['completed', null]);
    await complete(host, waits!, { count: 1 });
    assert.deepEqual(await counts(host, waits!), [1, 2]);
  });

  it('does not fill the memory, however often it is taken back while the thread is busy', async (t) => {
    const { host, first, runs, letGo } = await queue(t, { cpu2: { count: 1, ...pad } });
    const before = process.memoryUsage().rss;
    // Whoever needs the session's lock has the offer taken back; then it is made again.
    for (let i = 0; i < 300; i++) await host.registry.withSession('cpu2', () => undefined);
    assert.ok(process.memoryUsage().rss - before < 150 * pad.pad.length, 'not each of them keeps the input');
    letGo();
    for (const run of [first, ...Object.values(runs)]) assert.deepEqual(outcome(await run.result), ['completed', null]);
    assert.deepEqual(await counts(host, 'cpu2'), [1]);
  });
});
