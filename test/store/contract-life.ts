// What every store keeps to, continued: creation, changes, deletion, and what a restart finds.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { instantMs } from '../../src/protocol/instant.js';
import { decodeEntry } from '../../src/protocol/codec.js';
import { recordPage } from '../../src/protocol/record-page.js';
import { emptyStats } from '../../src/protocol/session.js';
import type { Store } from '../../src/worker/store/store.js';
import type { StoreFactory } from './contract.js';
import { Activation, accept, AT, create, endRun, load, record, seqs, write } from './records.js';

const LATER = { kind: 'update', at: AT + 5000 } as const;
const RESTART = { profiles: ['general'], resumeProfiles: [] as string[], maxResumes: 3, at: AT + 9000 };

const idsFor = async (store: Store, q?: string): Promise<string[]> =>
  recordPage(await store.page(q === undefined ? {} : { q })).records.map((r) => r.sessionId);

export function lifeContract(open: StoreFactory): void {
  test('a session is kept as it was given, and its id is given once', async (t) => {
    const store = await open(t);
    const given = record('a', {
      name: 'A name',
      source: 'system',
      agentProfile: 'coding',
      workingDir: '/srv/é',
      params: { n: 1, list: [true, null], bytes: 'x' },
      pinned: true,
      updatedAt: '2026-02-03T04:05:06.789Z',
      stats: { ...emptyStats(), totalTasks: 3, error: 'why', errorCode: 'AGENT_ERROR' },
    });
    await create(store, given);
    assert.deepEqual(await store.record('a'), { ...given, source: 'setup' });
    await assert.rejects(write(store, { kind: 'create', record: record('a') }), { code: 'SESSION_EXISTS' });
    assert.deepEqual(await store.record('a'), { ...given, source: 'setup' });
    assert.equal(await store.record('b'), null);
    assert.equal(await store.keyOf('b'), null);
    // Lists leave params out: they may be large.
    assert.deepEqual(recordPage(await store.page({})).records, [{ ...given, source: 'setup', params: {} }]);
  });

  test('an update changes only what it names, and a search follows the name', async (t) => {
    const store = await open(t);
    await create(store, record('a', { name: 'before' }));
    const { updated } = await write(store, { ...LATER, sessionId: 'a', fields: { pinned: true } });
    const pinned = updated?.record;
    assert.deepEqual(
      pinned,
      record('a', { name: 'before', pinned: true, source: 'manual', updatedAt: pinned!.updatedAt }),
    );
    assert.equal(pinned?.updatedAt, new Date(LATER.at).toISOString());
    await write(store, { ...LATER, sessionId: 'a', fields: { name: 'After' } });
    assert.deepEqual([await idsFor(store, 'be'), await idsFor(store, 'AF')], [[], ['a']]);
    assert.deepEqual([await idsFor(store, 'before'), await idsFor(store, 'AFTER')], [[], ['a']]);
    await write(store, { ...LATER, sessionId: 'a', fields: { name: null } });
    assert.equal((await store.record('a'))!.name, null);
    assert.deepEqual(await idsFor(store, 'After'), []);
    assert.deepEqual((await write(store, { ...LATER, sessionId: 'b', fields: { pinned: true } })).updated, null);
  });

  test('an agent renames its own session', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await a.commit({ kind: 'rename', at: AT + 1, name: 'Opening study', calledAt: AT, ...a.fence });
    assert.equal((await store.record('a'))!.name, 'Opening study');
    assert.deepEqual(await idsFor(store, 'opening'), ['a']);
  });

  test('a name that the agent gave before a user gave one does not undo that, however late it is written', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    const before = instantMs();
    await write(store, { ...LATER, sessionId: 'a', fields: { name: "the user's" } });
    await a.commit({ kind: 'rename', at: AT + 1, name: 'late', calledAt: before, ...a.fence });
    assert.equal((await store.record('a'))!.name, "the user's");
    assert.deepEqual([await idsFor(store, 'user'), await idsFor(store, 'late')], [['a'], []]);
    // What is no name leaves the agent's alone; and what the agent says after the user counts.
    await write(store, { ...LATER, sessionId: 'a', fields: { pinned: true } });
    await a.commit({ kind: 'rename', at: AT + 2, name: 'newer', calledAt: instantMs(), ...a.fence });
    assert.equal((await store.record('a'))!.name, 'newer');
  });

  test('a deleted session is nowhere, writes nothing, and its id is never given again', async (t) => {
    const store = await open(t);
    await create(store, record('gone', { name: 'secret plans', source: 'cron' }), record('kept'));
    const a = await Activation.of(store, 'gone');
    await accept(store, 'gone', 'r1');
    await a.commit(a.start('r1'), a.append(1), a.save('state'));
    assert.deepEqual(await write(store, { kind: 'remove', sessionId: 'gone', at: AT }), { removed: true });
    assert.deepEqual(await write(store, { kind: 'remove', sessionId: 'gone', at: AT }), { removed: false });
    assert.deepEqual(await write(store, { kind: 'remove', sessionId: 'nobody', at: AT }), { removed: false });

    for (const late of [
      a.append('late'),
      a.save('late'),
      { kind: 'rename' as const, at: AT, name: 'back', calledAt: AT, ...a.fence },
    ]) {
      const [result] = await store.commit([late]);
      assert.equal('error' in result! && result.error.code, 'STALE_EPOCH');
    }
    await assert.rejects(write(store, { kind: 'create', record: record('gone') }), { code: 'SESSION_EXISTS' });
    await assert.rejects(accept(store, 'gone', 'r2'), { code: 'SESSION_NOT_FOUND' });
    await assert.rejects(write(store, endRun('gone', 'r1')), { code: 'RUN_NOT_FOUND' });
    assert.deepEqual(await write(store, { kind: 'load', sessionId: 'gone' }), { loaded: null });
    assert.deepEqual(await write(store, { ...LATER, sessionId: 'gone', fields: { name: 'back' } }), { updated: null });
    const reads = [store.record('gone'), store.keyOf('gone'), store.run('gone', 'r1'), store.cronCount()];
    assert.deepEqual(await Promise.all(reads), [null, null, null, 0]);
    assert.deepEqual([await idsFor(store), await idsFor(store, 'se'), await idsFor(store, 'gone')], [['kept'], [], []]);
    assert.deepEqual(await idsFor(store, 'secret'), []);
    assert.deepEqual(await store.newest(5, 5), ['kept']);
    assert.deepEqual(await store.recover(RESTART), { pending: [], interrupted: 0 });
  });

  test('a purge removes all that deleted sessions left, in bounded steps, and nothing else', async (t) => {
    const store = await open(t);
    await create(store, record('gone'), record('kept'));
    const gone = await Activation.of(store, 'gone');
    const kept = await Activation.of(store, 'kept');
    await gone.commit(...Array.from({ length: 1200 }, (_, i) => gone.append(i)));
    await kept.commit(kept.append(1), kept.save('kept'));
    assert.equal(await store.purge(), false);
    await write(store, { kind: 'remove', sessionId: 'gone', at: AT });
    let steps = 0;
    while (await store.purge()) assert.ok(++steps < 100, 'a purge comes to an end');
    assert.ok(steps > 1, 'no step is as long as the history');
    assert.deepEqual(await store.entries(gone.loaded.key, 1, 10), []);
    assert.deepEqual(seqs(await store.entries(kept.loaded.key, 1, 10)), [1]);
    assert.equal(Buffer.from((await load(store, 'kept')).snapshot!).toString(), 'kept');
    await assert.rejects(write(store, { kind: 'create', record: record('gone') }), { code: 'SESSION_EXISTS' });
  });

  test('no step of a purge removes more than a few large entries', async (t) => {
    const store = await open(t);
    await create(store, record('gone'));
    const gone = await Activation.of(store, 'gone');
    const large = 'x'.repeat(3 * 1024 * 1024);
    await gone.commit(...Array.from({ length: 12 }, () => gone.append(large)));
    await write(store, { kind: 'remove', sessionId: 'gone', at: AT });
    const { key } = gone.loaded;
    const left = async (): Promise<number> => {
      // The oldest go first; a page from seq 1 on would miss them.
      for (let seq = 1; seq <= 12; seq++) if ((await store.entriesBefore(key, seq + 1, 1)).length > 0) return 13 - seq;
      return 0;
    };
    const steps: number[] = [];
    for (let before = 12; before > 0; before = await left()) {
      assert.equal(await store.purge(), true);
      steps.push(before - (await left()));
    }
    assert.ok(
      steps.every((removed) => removed >= 1 && removed <= 3),
      `${steps.join(', ')} entries of 3 MiB in a step`,
    );
  });

  test('at a restart a run that was running reads interrupted, and queued ones wait in their order', async (t) => {
    const store = await open(t);
    await create(store, record('a'), record('b'));
    const a = await Activation.of(store, 'a');
    for (const [id, run] of [
      ['a', 'r1'],
      ['b', 'r2'],
      ['a', 'r3'],
      ['a', 'r4'],
    ] as const)
      await accept(store, id, run);
    await a.commit(a.start('r1'), a.append('half done'));
    const { pending, interrupted } = await store.recover(RESTART);
    assert.equal(interrupted, 1);
    assert.deepEqual(
      pending.map(({ run }) => [run.sessionId, run.runId, run.state]),
      [
        ['b', 'r2', 'queued'],
        ['a', 'r3', 'queued'],
        ['a', 'r4', 'queued'],
      ],
    );
    const cut = (await store.run('a', 'r1'))!;
    assert.deepEqual([cut.state, cut.code, cut.endedAt], ['interrupted', 'RUN_CUT_OFF', RESTART.at]);
    const outcome = (await store.entriesBefore(a.loaded.key, null, 1))[0]!;
    assert.deepEqual(decodeEntry(outcome.body), {
      role: 'run',
      run_id: 'r1',
      state: 'interrupted',
      error: cut.error,
      code: 'RUN_CUT_OFF',
    });
    const [late] = await store.commit([a.append('of the process before')]);
    assert.equal('error' in late! && late.error.code, 'STALE_EPOCH');
    assert.deepEqual(await store.recover(RESTART), { pending, interrupted: 0 });
  });

  test('a run that was ended before its thread began it has one outcome, and its agent goes on', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    const { ended } = await write(store, endRun('a', 'r1'));
    // The thread had it in hand by then, and counts the outcome that it sends.
    await a.commit(a.start('r1'), a.end('r1'), a.append('of the next run'));
    assert.deepEqual(await store.run('a', 'r1'), ended);
    const entries = await store.entries(a.loaded.key, 1, 10);
    assert.deepEqual(
      entries.map(({ seq, body }) => [seq, decodeEntry(body)['content']]),
      [
        [1, 'input of r1'],
        [2, 'r1 failed'],
        [3, 'of the next run'],
      ],
    );
  });

  test('a run that is put back in line is taken from the activation that had begun it', async (t) => {
    const store = await open(t);
    await create(store, record('a'));
    const a = await Activation.of(store, 'a');
    await accept(store, 'a', 'r1');
    await a.commit(a.start('r1'), a.append('half done'));
    const requeue = { kind: 'requeue' as const, sessionId: 'a', runId: 'r1', ifUnstarted: false };
    assert.deepEqual(await write(store, { ...requeue, ifUnstarted: true }), { requeued: false });
    assert.deepEqual(await write(store, requeue), { requeued: true });
    for (const late of [a.append('of a thread that was given up'), a.end('r1', 'its state')]) {
      const [result] = await store.commit([late]);
      assert.equal('error' in result! && result.error.code, 'STALE_EPOCH');
    }
    const { state, attempts } = (await store.run('a', 'r1'))!;
    assert.deepEqual([state, attempts], ['queued', 0]);
    const next = await Activation.of(store, 'a');
    await next.commit(next.start('r1'), next.end('r1'));
    assert.equal((await store.run('a', 'r1'))!.state, 'completed');
    assert.deepEqual(await write(store, requeue), { requeued: false });
  });

  test('a run that was cut off starts again if its profile resumes, as often as it may', async (t) => {
    const store = await open(t);
    await create(store, record('a', { agentProfile: 'indexer' }), record('b'));
    await accept(store, 'a', 'r1');
    await accept(store, 'b', 'r2');
    const profiles = ['indexer', 'general'];
    const options = { ...RESTART, profiles, resumeProfiles: profiles, maxResumes: 1 };
    for (const attempt of [1, 2]) {
      const a = await Activation.of(store, 'a');
      await a.commit(a.start('r1'));
      assert.equal((await store.run('a', 'r1'))!.attempts, attempt);
      const { pending, interrupted } = await store.recover(options);
      const resumed = attempt === 1 ? ['r1', 'r2'] : ['r2'];
      assert.deepEqual([pending.map(({ run }) => run.runId), interrupted], [resumed, 2 - resumed.length]);
      assert.equal((await store.run('a', 'r1'))!.state, attempt === 1 ? 'queued' : 'interrupted');
    }
    // A profile that is missing is general.
    const b = await Activation.of(store, 'b');
    await b.commit(b.start('r2'));
    assert.deepEqual(
      (await store.recover(options)).pending.map(({ run }) => run.runId),
      ['r2'],
    );
  });
}
