// What every store keeps to: run this suite on each of them. Journals, epochs and runs are here; deletion and what a
// restart finds are in contract-life.ts, lists and search in contract-list.ts.

import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { ENTRY_KIND } from '../../src/protocol/journal.js';
import { emptyStats } from '../../src/protocol/session.js';
import type { Store } from '../../src/worker/store/store.js';
import { lifeContract } from './contract-life.js';
import { listContract } from './contract-list.js';
import { Activation, accept, AT, bytes, create, endRun, entry, load, record, seqs, write } from './records.js';

/** Gives an empty store, which is closed after the test. */
export type StoreFactory = (t: TestContext) => Promise<Store>;

export function storeContract(name: string, open: StoreFactory): void {
  describe(`${name}: the journal`, () => journalContract(open));
  describe(`${name}: snapshots and what an activation starts from`, () => loadContract(open));
  describe(`${name}: runs`, () => runContract(open));
  describe(`${name}: deletion and restarts`, () => lifeContract(open));
  describe(`${name}: lists and search`, () => listContract(open));
}

function journalContract(open: StoreFactory): void {
  test('entries are numbered from 1 without a gap, across activations', async (t) => {
    const store = await open(t);
    await create(store, record('a'), record('b'));
    const a = await Activation.of(store, 'a');
    const b = await Activation.of(store, 'b');
    await a.commit(a.append(1), b.append('x'), a.append(2));
    const again = await Activation.of(store, 'a');
    const [written] = await again.commit(again.append(3));
    assert.equal(written!.entry!.seq, 3);
    assert.deepEqual(written!.head, { sessionId: 'a', key: a.loaded.key, epoch: 2, n: 1, seq: 3 });
    assert.deepEqual(seqs(await store.entries(a.loaded.key, 1, 100)), [1, 2, 3]);
    assert.deepEqual(seqs(await store.entries(b.loaded.key, 1, 100)), [1]);
  });

  test('an entry is read as it was written, byte for byte, with its time and kind', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    const body = entry('é😀'.repeat(1000));
    await a.commit({ kind: 'append', at: 1_700_000_000_123, body, ...a.fence, n: 1 });
    const [row] = await store.entries(a.loaded.key, 1, 1);
    assert.deepEqual(Buffer.from(row!.body), Buffer.from(body));
    assert.deepEqual([row!.seq, row!.at, row!.kind], [1, 1_700_000_000_123, ENTRY_KIND.agent]);
  });

  test('reading is by range: from a seq on, and the newest below one, both oldest first', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await a.commit(...Array.from({ length: 10 }, (_, i) => a.append(i)));
    const { key } = a.loaded;
    assert.deepEqual(seqs(await store.entries(key, 4, 3)), [4, 5, 6]);
    assert.deepEqual(seqs(await store.entries(key, 11, 3)), []);
    assert.deepEqual(seqs(await store.entriesBefore(key, null, 3)), [8, 9, 10]);
    assert.deepEqual(seqs(await store.entriesBefore(key, 8, 3)), [5, 6, 7]);
    assert.deepEqual(seqs(await store.entriesBefore(key, 3, 5)), [1, 2]);
  });

  test('every activation has the next epoch', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const epochs = [await load(store, 'a'), await load(store, 'a')].map((loaded) => loaded.epoch);
    const [third, fourth] = await store.commit([
      { kind: 'load', sessionId: 'a' },
      { kind: 'load', sessionId: 'a' },
    ]);
    for (const result of [third!, fourth!]) epochs.push('ok' in result ? result.ok.loaded!.epoch : 0);
    assert.deepEqual(epochs, [1, 2, 3, 4]);
    assert.deepEqual(await store.commit([{ kind: 'load', sessionId: 'nobody' }]), [{ ok: { loaded: null } }]);
  });

  test('whatever a superseded activation writes is refused, and the rest of the batch is not touched', async (t) => {
    const store = await open(t);
    await create(store, record('a'), record('b'));
    await accept(store, 'a', 'r1');
    const old = await Activation.of(store, 'a');
    await old.commit(old.append('kept'));
    const now = await Activation.of(store, 'a');
    const b = await Activation.of(store, 'b');
    const stale = [
      old.start('r1'),
      old.save('stale'),
      { kind: 'rename' as const, at: AT, name: 'stale', calledAt: AT, ...old.fence },
    ];
    const ops = [now.append(1), old.append('stale'), b.append(1), ...stale, old.end('r1', 'stale'), now.append(2)];
    const results = await store.commit(ops);
    assert.deepEqual(
      results.map((result) => ('ok' in result ? 'ok' : result.error.code)),
      ['ok', 'STALE_EPOCH', 'ok', 'STALE_EPOCH', 'STALE_EPOCH', 'STALE_EPOCH', 'STALE_EPOCH', 'ok'],
    );
    assert.deepEqual(seqs(await store.entries(now.loaded.key, 1, 100)), [1, 2, 3, 4]);
    const { snapshot, record: kept } = await load(store, 'a');
    assert.equal(snapshot, null);
    assert.equal(kept.name, null);
    assert.equal((await store.run('a', 'r1'))!.state, 'queued');
  });

  test('an entry that does not follow the one before is refused, and the one that does is taken', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    const append = (n: number) => ({ kind: 'append' as const, at: AT, body: entry(n), ...a.fence, n });
    const results = await store.commit([append(1), append(3), append(1), append(2), append(0)]);
    assert.deepEqual(
      results.map((result) => ('ok' in result ? 'ok' : result.error.code)),
      ['ok', 'JOURNAL_GAP', 'JOURNAL_GAP', 'ok', 'JOURNAL_GAP'],
    );
    const [save] = await store.commit([{ kind: 'save', at: AT, body: bytes('s'), stats: null, ...a.fence, n: 3 }]);
    assert.equal('error' in save! && save.error.code, 'JOURNAL_GAP');
    assert.deepEqual(seqs(await store.entries(a.loaded.key, 1, 100)), [1, 2]);
  });

  test('after its release an activation writes nothing, and a release of another epoch changes nothing', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await a.commit(a.append(1), { kind: 'release', sessionId: 'a', epoch: 7 }, a.append(2));
    const [, refused] = await store.commit([{ kind: 'release', sessionId: 'a', epoch: 1 }, a.append(3)]);
    assert.equal('error' in refused! && refused.error.code, 'STALE_EPOCH');
    const next = await Activation.of(store, 'a');
    assert.equal(next.loaded.epoch, 2);
    assert.equal(next.loaded.seq, 2);
    const [, late] = await store.commit([{ kind: 'release', sessionId: 'a', epoch: null }, next.append(1)]);
    assert.equal('error' in late! && late.error.code, 'STALE_EPOCH');
  });
}

function loadContract(open: StoreFactory): void {
  test('an activation starts from the snapshot and the entries after it', async (t) => {
    const store = await open(t);
    await create(store, record('a', { name: 'A', params: { deep: [1, { x: null }] }, workingDir: '/srv' }));
    const a = await Activation.of(store, 'a');
    assert.deepEqual([a.loaded.snapshot, a.loaded.tail, a.loaded.seq], [null, [], 0]);
    await a.commit(a.append(1), a.append(2), a.save('two'), a.append(3), a.append(4));
    const loaded = await load(store, 'a');
    assert.equal(Buffer.from(loaded.snapshot!).toString(), 'two');
    assert.deepEqual(seqs(loaded.tail), [3, 4]);
    assert.equal(loaded.seq, 4);
    assert.deepEqual(
      loaded.record,
      record('a', { name: 'A', params: { deep: [1, { x: null }] }, workingDir: '/srv', source: 'manual' }),
    );
  });

  test('the inputs of runs that have yet to start are not in the tail: their runs will be given them', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    await a.commit(a.start('r1'), a.append('by r1'));
    await accept(store, 'a', 'r2');
    await a.commit(a.append('by r1 again'));
    const loaded = await load(store, 'a');
    assert.deepEqual(seqs(loaded.tail), [1, 2, 4]);
    assert.equal(loaded.seq, 4);
  });

  test('the inputs of runs that never started are not in the tail', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1'); // 1
    await a.commit(a.start('r1'));
    await accept(store, 'a', 'r2'); // 2
    await a.commit(a.end('r1', 'after r1')); // 3
    await accept(store, 'a', 'r3'); // 4
    for (const runId of ['r2', 'r3']) {
      const ending = { state: 'interrupted', error: 'Interrupted', code: 'RUN_INTERRUPTED' } as const;
      await write(store, { kind: 'endRun', sessionId: 'a', runId, ...ending, entry: entry('its end'), at: AT }); // 5, 6
    }
    assert.deepEqual(seqs((await load(store, 'a')).tail), [5, 6]);
  });

  test('an input journaled before the snapshot is in the tail when its run started after it', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1'); // 1
    await a.commit(a.start('r1'));
    await accept(store, 'a', 'r2'); // 2
    await accept(store, 'a', 'r3'); // 3
    await a.commit(a.append('by r1'), a.end('r1', 'after r1')); // 4, 5
    assert.deepEqual(seqs((await load(store, 'a')).tail), []);
    const b = await Activation.of(store, 'a');
    await b.commit(b.start('r2'), b.append('by r2')); // 6
    assert.deepEqual(seqs((await load(store, 'a')).tail), [2, 6]);
    const c = await Activation.of(store, 'a');
    await c.commit(c.end('r2', 'after r2')); // 7
    const loaded = await load(store, 'a');
    assert.equal(Buffer.from(loaded.snapshot!).toString(), 'after r2');
    assert.deepEqual(seqs(loaded.tail), []);
  });

  test('the end of a run, its snapshot and its stats are one transaction with everything beside them', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    const stats = { totalTasks: 1, totalCostUsd: 0.25, latestLatencyMs: 12.5, model: 'm', subModelOptions: ['x'] };
    const [, written] = await a.commit(a.start('r1'), a.end('r1', 'state after r1', stats));
    assert.equal(written!.ended!.state, 'completed');
    const run = (await store.run('a', 'r1'))!;
    assert.deepEqual(
      { ...run, output: Buffer.from(run.output!).toString() },
      {
        sessionId: 'a',
        runId: 'r1',
        state: 'completed',
        inputSeq: 1,
        output: 'output of r1',
        error: null,
        code: null,
        startedAt: AT + 1,
        endedAt: AT + 2,
        attempts: 1,
      },
    );
    const loaded = await load(store, 'a');
    assert.equal(Buffer.from(loaded.snapshot!).toString(), 'state after r1');
    assert.deepEqual(loaded.record.stats, { ...emptyStats(), ...stats });
    assert.equal(loaded.record.updatedAt, new Date(AT + 2).toISOString());
    const [, outcome] = await store.entries(loaded.key, 1, 10);
    assert.equal(outcome!.kind, ENTRY_KIND.outcome);
    // Refused, it leaves none of the four behind.
    await accept(store, 'a', 'r2');
    const [refused] = await store.commit([a.end('r2', 'stale', { totalTasks: 99 })]);
    assert.equal('error' in refused! && refused.error.code, 'STALE_EPOCH');
    const after = await load(store, 'a');
    assert.deepEqual(
      [Buffer.from(after.snapshot!).toString(), after.record.stats.totalTasks, after.seq],
      ['state after r1', 1, 3],
    );
    assert.equal((await store.run('a', 'r2'))!.state, 'queued');
  });

  test('an end without a snapshot keeps the older one, and a save without stats the older stats', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    await a.commit(
      a.save('old', { ...emptyStats(), totalTasks: 5 }),
      a.start('r1'),
      a.end('r1', null, { totalTasks: 6 }),
    );
    await a.commit(a.save('old'));
    const loaded = await load(store, 'a');
    assert.equal(Buffer.from(loaded.snapshot!).toString(), 'old');
    assert.equal(loaded.record.stats.totalTasks, 6);
  });
}

function runContract(open: StoreFactory): void {
  test('an accepted run is queued, and its input is an entry of the history', async (t) => {
    const store = await open(t);
    await create(store, record('a', { agentProfile: 'chess' }));
    const op = { kind: 'accept', sessionId: 'a', runId: 'r1', input: entry('in'), at: AT } as const;
    const { accepted, entry: journaled } = await write(store, op);
    assert.deepEqual([accepted!.isNew, accepted!.agentProfile], [true, 'chess']);
    assert.deepEqual([accepted!.run.state, accepted!.run.inputSeq, accepted!.run.attempts], ['queued', 1, 0]);
    assert.deepEqual([journaled!.seq, journaled!.kind], [1, ENTRY_KIND.input]);
  });

  test('accepting a run id again answers with that run and journals nothing', async (t) => {
    const store = await open(t);
    await create(store, record('a'), record('b'));
    const accepting = (sessionId: string) => ({
      kind: 'accept' as const,
      sessionId,
      runId: 'r1',
      input: entry('in'),
      at: AT,
    });
    const results = await store.commit([accepting('a'), accepting('a'), accepting('b')]);
    assert.deepEqual(
      results.map((result) => 'ok' in result && result.ok.accepted!.isNew),
      [true, false, true],
    );
    const a = await Activation.of(store, 'a');
    await a.commit(a.start('r1'), a.end('r1'));
    const { accepted } = await write(store, accepting('a'));
    assert.deepEqual([accepted!.isNew, accepted!.run.state], [false, 'completed']);
    assert.deepEqual(seqs(await store.entries(a.loaded.key, 1, 10)), [1, 2]);
  });

  test('a run of a session that is not there is refused by name', async (t) => {
    const store = await open(t);
    await assert.rejects(accept(store, 'nobody', 'r1'), { code: 'SESSION_NOT_FOUND' });
    await assert.rejects(write(store, endRun('nobody', 'r1')), { code: 'RUN_NOT_FOUND' });
    await create(store, record('a'));
    await assert.rejects(write(store, endRun('a', 'r1')), { code: 'RUN_NOT_FOUND' });
    assert.equal(await store.run('a', 'r1'), null);
    assert.equal(await store.run('nobody', 'r1'), null);
  });

  test("the host's entries interleave with the agent's, who counts only its own", async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await a.commit(a.append('agent'));
    await accept(store, 'a', 'r1');
    await a.commit(a.append('agent'), a.start('r1'));
    await accept(store, 'a', 'r2');
    const [append] = await a.commit(a.append('agent'), a.end('r1'));
    // What the head says is where the journal stands after the whole batch.
    assert.deepEqual([append!.entry!.seq, append!.head!.n, append!.head!.seq], [5, 4, 6]);
    const rows = await store.entries(a.loaded.key, 1, 10);
    const { input, agent, outcome } = ENTRY_KIND;
    assert.deepEqual(
      rows.map((row) => row.kind),
      [agent, input, agent, input, agent, outcome],
    );
    assert.deepEqual(seqs(rows), [1, 2, 3, 4, 5, 6]);
  });

  test('ending a running run without its thread fences its activation off', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    await a.commit(a.start('r1'), a.append('before'));
    const { ended } = await write(store, endRun('a', 'r1'));
    assert.deepEqual([ended!.state, ended!.code, ended!.error], ['failed', 'AGENT_CRASHED', 'its thread died']);
    for (const late of [a.append('late'), a.end('r1', 'late')]) {
      const [result] = await store.commit([late]);
      assert.equal('error' in result! && result.error.code, 'STALE_EPOCH');
    }
    assert.equal((await store.run('a', 'r1'))!.state, 'failed');
    const loaded = await load(store, 'a');
    assert.ok(loaded.epoch > a.loaded.epoch + 1, 'the fence took an epoch of its own');
    assert.deepEqual(seqs(loaded.tail), [1, 2, 3]);
  });

  test('ending a queued run leaves the activation alone', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    const { ended } = await write(store, endRun('a', 'r1'));
    assert.equal(ended!.state, 'failed');
    const [written] = await a.commit(a.append('goes on'));
    assert.equal(written!.entry!.seq, 3);
  });

  test('a run that began and was ended without its thread leaves no error of an earlier one; one that waited does', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const cutOff = (runId: string, endedAt: number): ReturnType<typeof endRun> => {
      const interrupted = { state: 'interrupted', error: 'cut off', code: 'RUN_CUT_OFF', at: endedAt } as const;
      return { ...endRun('a', runId), ...interrupted };
    };
    const row = async (): Promise<unknown[]> => {
      const { stats, updatedAt } = (await store.record('a'))!;
      return [stats.error, stats.errorCode, Date.parse(updatedAt)];
    };
    for (const runId of ['r1', 'r2', 'r3']) await accept(store, 'a', runId);
    await write(store, endRun('a', 'r1'));
    const [error, code, at] = await row();
    assert.deepEqual([error, code], ['its thread died', 'AGENT_CRASHED']);
    await write(store, cutOff('r2', (at as number) + 1));
    assert.deepEqual(await row(), [error, code, (at as number) + 1]);
    const a = await Activation.of(store, 'a');
    await a.commit(a.start('r3'));
    await write(store, cutOff('r3', (at as number) + 2));
    assert.deepEqual(await row(), [null, null, (at as number) + 2]);
  });

  test('a run ends once: whoever ends it later is answered with how it ended, and journals nothing', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    await a.commit(a.start('r1'), a.end('r1'));
    const { ended, entry: journaled } = await write(store, endRun('a', 'r1'));
    assert.deepEqual([ended!.state, ended!.error], ['completed', null]);
    assert.equal(journaled, undefined);
    await a.commit(a.append('not fenced off'));
    assert.deepEqual(seqs(await store.entries(a.loaded.key, 1, 10)), [1, 2, 3]);
  });

  test('a run that the host ended while it was queued stays as it ended, although its thread runs it', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    await write(store, endRun('a', 'r1'));
    await store.commit([a.start('r1'), a.end('r1')]);
    const run = (await store.run('a', 'r1'))!;
    assert.deepEqual([run.state, run.code, run.endedAt], ['failed', 'AGENT_CRASHED', AT + 3]);
  });
}
