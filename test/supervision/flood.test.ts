// Agents that tell more than main can take, and a main thread that stands still meanwhile: what is on its way stays
// bounded, what is missing is told in its place, and nobody hangs.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { pino } from 'pino';
import type { Host, SessionEvent } from '../../src/main/index.js';
import { packEvent } from '../../src/protocol/codec.js';
import { NOTES_IN_FLIGHT_BYTES, NOTE_OVERHEAD_BYTES } from '../../src/protocol/limits.js';
import type { Flood } from '../agents/supervision-flood.js';
import { until } from '../support/host.js';
import { ANSWER_MAX_MS, complete, gate, house, inhabit, isRunning, outcome, timed } from './house.js';

const TOLD_MAX_MS = 60_000;

/** A file that the agent makes when it has told `at` things; until then this thread stands still when it is told to. */
function marker(t: TestContext, at: number) {
  const mark = { path: gate(t).path, at };
  /** Holds this thread, and with it everything of the host that is not in a thread of its own. */
  const standStill = (): void => {
    const end = performance.now() + TOLD_MAX_MS;
    while (!existsSync(mark.path)) assert.ok(performance.now() < end, `the agent has not told ${at} things`);
  };
  return { mark, standStill };
}

/** Stands still from the run's first event until it has told everything; resolves when it has completed. */
async function deafTo(t: TestContext, host: Host, input: Flood): Promise<void> {
  const { mark, standStill } = marker(t, input.count);
  const { events, result } = host.send('flood', { ...input, mark });
  for await (const event of events) if (event.type === 'event') standStill();
  assert.deepEqual(outcome(await result), ['completed', null]);
}

/**
 * Runs and reads all that the run emits; what is read and what is missing must be in order, and be all of it.
 * @returns how many events were received and how many are missing, and what those between the first one and the first
 * gap weigh
 */
async function flooded(host: Host, input: Flood, atFirst: () => void = () => undefined) {
  const run = host.send('flood', input);
  let next = 0;
  let missed = 0;
  let beforeGap = 0;
  const seen: SessionEvent[] = [];
  for await (const event of run.events) {
    if (event.type === 'gap') missed += event.missed;
    if (event.type === 'event') {
      if (next === 0 && missed === 0) atFirst();
      else if (missed === 0) beforeGap += weightOf(event.data);
      const { i } = event.data as { i: number };
      assert.equal(i, next + missed, 'what is missing was told before what came after it');
      next++;
    }
    if (event.type === 'run') seen.push(event);
    else if (seen.length > 1) assert.fail('an event after the end of the run');
  }
  assert.deepEqual(outcome(await run.result), ['completed', null]);
  assert.equal(next + missed, input.count);
  return { received: next, missed, beforeGap };
}

/** What an event takes of its thread's window. */
function weightOf(data: unknown): number {
  return packEvent(data).byteLength + NOTE_OVERHEAD_BYTES;
}

describe('a flood of events', () => {
  for (const how of ['emit', 'yield'] as const) {
    it(`(${how}) reaches its subscriber, or is told as missing in its place`, async (t) => {
      const host = await house(t, { threads: 1 });
      await inhabit(host, 'flood');
      const { received } = await flooded(host, { how, count: 30_000 });
      assert.ok(received > 0);
    });

    it(`(${how}) is bounded on its way to a main thread that stands still`, async (t) => {
      const host = await house(t, { threads: 1, niceIncrement: 0 });
      await inhabit(host, 'flood');
      const count = 60_000;
      const { mark, standStill } = marker(t, count);
      const { missed, beforeGap } = await flooded(host, { how, count, mark }, standStill);
      // While main stood still nothing was taken: what the agent emitted then was on its way, or is missing.
      assert.ok(missed > 0, 'more was emitted than may be on its way');
      // All of the window is this thread's. The first event had left it, and the last one may overdraw it.
      const most = NOTES_IN_FLIGHT_BYTES + 2 * weightOf({ i: count });
      assert.ok(beforeGap <= most, `${beforeGap} bytes were on their way, of at most ${most}`);
      assert.ok(beforeGap > most / 2, `${beforeGap} bytes were on their way: the window was not used`);
    });
  }

  it('ends when it is interrupted, whether or not main takes anything', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'flood', 'io');
    const stream = host.subscribe('flood');
    const { mark, standStill } = marker(t, 60_000);
    const run = host.send('flood', { how: 'emit', count: 1e9, mark });
    await until('it runs', () => isRunning(host, 'flood'));
    standStill();
    host.interrupt('flood');
    const { value, ms } = await timed(run.result);
    assert.deepEqual(outcome(value), ['interrupted', 'RUN_INTERRUPTED']);
    assert.ok(ms < ANSWER_MAX_MS, `${ms} ms`);
    await stream.return();
    assert.equal((await complete(host, 'io', { count: 1 })).n, 1);
  });
});

describe('a single event', () => {
  it('is on its way at once, though its agent never yields again', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'flood');
    const { path, open } = gate(t);
    const run = host.send('flood', { how: 'emit', count: 1, until: path });
    for await (const event of run.events) {
      if (event.type === 'event') open();
    }
    assert.deepEqual(outcome(await run.result), ['completed', null]);
  });
});

describe('what else an agent tells in a hot loop', () => {
  it('figures and names are merged, and none is lost', async (t) => {
    const host = await house(t, { threads: 1, niceIncrement: 0 });
    await inhabit(host, 'flood');
    await deafTo(t, host, { how: 'report', count: 10_000 });
    const row = (await host.registry.snapshot('flood'))!;
    assert.deepEqual([row.name, row.totalCost, row.model, row.modelId], ['name 9999', 10_000, 'model 9998', 'id 9999']);
  });

  it('log lines beyond what main can take are dropped, and a line says how many', async (t) => {
    let lines = 0;
    let dropped = 0;
    const log = pino({ level: 'warn' }, { write: (line) => count(JSON.parse(line) as { msg: string }) });
    const count = ({ msg }: { msg: string }): void => {
      const gap = /^(\d+) log lines were dropped/.exec(msg);
      if (gap) dropped += Number(gap[1]);
      else lines++;
    };
    const host = await house(t, { threads: 1, log, niceIncrement: 0 });
    await inhabit(host, 'flood');
    await deafTo(t, host, { how: 'log', count: 100_000 });
    assert.ok(lines > 0 && dropped > 0, `${lines} lines, ${dropped} dropped`);
    assert.equal(lines + dropped, 100_000);
  });
});
