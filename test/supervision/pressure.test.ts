// More than there is room for: of runs, of entries, of events, of agents, of heap. Everything that is refused is told so
// with a code that says whether to try again; everything that was accepted ends.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it, test } from 'node:test';
import { MAILBOX_MAX_RUNS } from '../../src/protocol/limits.js';
import { CabanaError, type SessionEvent } from '../../src/main/index.js';
import { holdDatabase } from '../support/held-database.js';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { complete, counts, gate, house, houseWithClock, inhabit, isRunning, leave, outcome } from './house.js';

test('of thousands of runs at once each is accepted and ends, or is refused and may be sent again', async (t) => {
  const host = await house(t, { threads: 2 });
  const ids = ['cpu1', 'cpu2', 'io1'];
  await inhabit(host, ...ids);
  const runs = Array.from({ length: 6_000 }, (_, i) => {
    const id = ids[i % ids.length]!;
    return { id, run: host.send(id, { count: 1 }) };
  });
  const accepted = new Map(ids.map((id) => [id, 0]));
  let refused = 0;
  for (const { id, run } of runs) {
    try {
      await run.accepted;
    } catch (error) {
      assert.ok(error instanceof CabanaError);
      assert.ok(error.retryable && ['MAILBOX_FULL', 'HOST_OVERLOADED'].includes(error.code), error.code);
      await assert.rejects(run.result, error);
      refused++;
      continue;
    }
    assert.deepEqual(outcome(await run.result), ['completed', null]);
    accepted.set(id, accepted.get(id)! + 1);
  }
  assert.ok(refused > 0);
  for (const [id, count] of accepted) {
    assert.ok(count >= MAILBOX_MAX_RUNS, `${count} of ${id}`);
    assert.equal((await counts(host, id)).length, count);
    assert.equal((await complete(host, id)).n, count);
  }
});

describe('a journal that is fed faster than the disk', () => {
  /** More than fits. */
  const flood = { entries: 400, bytes: 512 * 1024 };

  it('refuses entries of an agent that never waits, and keeps those that it took', async (t) => {
    const dataDir = tempDir(t);
    const host = await house(t, { dataDir, threads: 1 });
    await inhabit(host, 'writer', 'io');
    const { path, open } = gate(t);
    const run = complete<{ appended: number; code: string }>(host, 'writer', { ...flood, awaits: false, from: path });
    await until('it runs', () => isRunning(host, 'writer'));
    // Meanwhile nothing reaches the disk, however slow the agent is.
    const held = holdDatabase(t, dataDir);
    open();
    await until('it is refused', () => existsSync(`${path}.refused`));
    held.release();
    const { appended, code } = await run;
    assert.equal(code, 'JOURNAL_BACKLOG');
    assert.ok(appended > 0 && appended < flood.entries);
    assert.equal((await complete(host, 'io', { count: 1 })).n, 1);
    assert.equal(host.registry.sessionSummary('writer')!.durableSeq, appended + 2, 'input, entries, outcome');
    // The next run finds room again.
    const next = await complete<{ code: string | null }>(host, 'writer', { entries: 3, bytes: 10, awaits: false });
    assert.equal(next.code, null);
  });

  it('takes all of an agent that waits for room', async (t) => {
    const host = await house(t, { threads: 1 });
    await inhabit(host, 'writer');
    const { appended, code } = await complete<{ appended: number; code: string | null }>(host, 'writer', {
      entries: 200,
      bytes: 512 * 1024,
      awaits: true,
    });
    assert.deepEqual([appended, code], [200, null]);
    assert.equal(host.registry.sessionSummary('writer')!.durableSeq, 202);
  });
});

test('a subscriber that does not read is told what it missed, and finds it in the history', async (t) => {
  const host = await house(t, { threads: 1 });
  await inhabit(host, 'cpu');
  const stream = host.subscribe('cpu');
  for (let i = 0; i < 3; i++) await complete(host, 'cpu', { count: 1_000 });
  await until('all is on disk', () => host.registry.sessionSummary('cpu')!.durableSeq === 3_006);
  const first = (await stream.next()).value as SessionEvent;
  assert.ok(first.type === 'gap' && first.missed > 1_000, JSON.stringify(first));
  let next = 0;
  while (next === 0) {
    const event = (await stream.next()).value as SessionEvent;
    if (event.type === 'entry') next = event.seq;
  }
  await stream.return();
  const missed: number[] = [];
  for (let from = 1; from < next;) {
    const page = (await host.entriesFrom('cpu', from, 1_000))!;
    const seqs = page.map((event) => (event.type === 'entry' ? event.seq : -1));
    missed.push(...seqs);
    from = seqs.at(-1)! + 1;
  }
  assert.deepEqual(
    missed.slice(0, next),
    Array.from({ length: missed.slice(0, next).length }, (_, i) => i + 1),
  );
  assert.ok(missed.length >= next - 1);
});

describe('passivation', () => {
  it('never takes a session that is running, queued or watched, and takes all the others', async (t) => {
    const host = await house(t, { threads: 1, maxIdleAgents: 0 });
    await inhabit(host, 'io1', 'io2', 'cpu1', 'cpu2', 'flush');
    const { path, open } = gate(t);
    const stream = host.subscribe('io2');
    await host.registry.ensure('io2');
    // It may have been away before it was watched.
    const { epoch } = host.registry.get('io2')!;
    const running = [host.send('io1', { how: 'wait', until: path }), host.send('cpu1', { how: 'slices', until: path })];
    await until('they run', () => isRunning(host, 'io1') && isRunning(host, 'cpu1'));
    const queued = host.send('cpu2', { count: 1 });
    await queued.accepted;
    await leave(host, 'flush');
    assert.deepEqual(await host.registry.cleanupStale(), []);
    for (const id of ['io1', 'io2', 'cpu1']) assert.equal(host.registry.exists(id), true, id);
    assert.equal(host.registry.get('io2')!.epoch, epoch);
    open();
    for (const { result } of [...running, queued]) assert.deepEqual(outcome(await result), ['completed', null]);
    await stream.return();
    await until('all have left', () => ['io1', 'io2', 'cpu1', 'cpu2'].every((id) => !host.registry.exists(id)));
    assert.equal((await complete(host, 'cpu2')).n, 1);
  });

  it('that cannot save keeps the agent, tries again less and less often, and succeeds when it can', async (t) => {
    const { host, clock } = await houseWithClock(t, { threads: 1, maxIdleAgents: 0 });
    // The clock stands still: what is due at an instant is asked for by the test alone.
    await host.create({ sessionId: 'sick', agentProfile: 'unsaveable' });
    await complete(host, 'sick', { broken: true });
    let attempts = 0;
    const log = host.config.log;
    t.mock.method(log, 'error', (_fields: unknown, message?: string) => {
      if (message?.includes('could not be saved')) attempts++;
    });
    const waits: number[] = [];
    for (let sinceMs = 0; waits.length < 4; sinceMs += 500) {
      const before = attempts;
      assert.deepEqual(await host.registry.evictExcessIdle(), []);
      if (attempts > before) {
        waits.push(sinceMs);
        sinceMs = 0;
      }
      assert.equal(host.registry.get('sick')?.state, 'idle', 'it is kept');
      clock.sleep(500);
    }
    const [, second, third, fourth] = waits;
    assert.ok(second! >= 1_000 && third! >= 2 * second! - 500 && fourth! >= 2 * third! - 500, waits.join(' '));
    assert.deepEqual(await complete(host, 'sick', { broken: false }), { n: 2 });
    clock.sleep(60_000);
    assert.deepEqual(await host.registry.evictExcessIdle(), ['sick']);
    assert.deepEqual(await complete(host, 'sick', { broken: false }), { n: 3 });
  });
});

test('a thread whose heap is nearly full is relieved of idle agents, also while runs follow each other', async (t) => {
  const host = await house(t, { threads: 1, threadHeapMb: 96 });
  const ids = Array.from({ length: 16 }, (_, i) => `ballast${i + 1}`);
  await inhabit(host, 'cpu', ...ids);
  const left = (): number => ids.filter((id) => !host.registry.exists(id)).length;
  for (const id of ids) {
    // The line is never empty: no timer of main finds the thread free.
    const others = Array.from({ length: 40 }, () => host.send('cpu', { how: 'slices', ms: 15 }));
    assert.deepEqual(await complete(host, id, { mb: 8 }), { n: 1 });
    for (const { result } of others) assert.deepEqual(outcome(await result), ['completed', null]);
  }
  assert.ok(left() > 0, 'some have left');
});

test('a thread whose heap is nearly full is relieved of idle agents, until it is not', async (t) => {
  const host = await house(t, { threads: 1, threadHeapMb: 96 });
  const ids = Array.from({ length: 16 }, (_, i) => `ballast${i + 1}`);
  await inhabit(host, ...ids);
  const left = (): number => ids.filter((id) => !host.registry.exists(id)).length;
  const heap = () => host.threads()[0]!;
  // All of them together are more than the thread has: those that come find room because others leave.
  for (const id of ids) {
    assert.deepEqual(await complete(host, id, { mb: 8 }), { n: 1 });
    const { heapUsed } = heap();
    await until('the heap is looked at', () => heap().heapUsed !== heapUsed);
    await until('there is room', () => heap().heapUsed < 0.75 * heap().heapLimit);
  }
  assert.ok(left() > 0 && left() < ids.length, `${left()} have left`);
  // Nobody's thread died, and everybody is there.
  for (const id of ids) {
    await until('there is room', () => heap().heapUsed < 0.75 * heap().heapLimit);
    assert.deepEqual(await complete(host, id, { mb: 0 }), { n: 2 });
  }
});
