// Group commit, on a store that counts its commits and has as much room as it is given.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { CabanaError, type ErrorCode } from '../../src/protocol/errors.js';
import { COMMIT_MAX_OPS, STORE_FULL_RETRY_MS } from '../../src/protocol/limits.js';
import { GroupCommitter, type Item, type WhenFull } from '../../src/worker/store/committer.js';
import type { OpResult, Store, WriteOp } from '../../src/worker/store/store.js';

/** Operations are told apart by a name; it is all that matters to the committer. */
const named = (name: string): WriteOp => ({ kind: 'release', sessionId: name, epoch: null });
const nameOf = (op: WriteOp): string => (op.kind === 'release' ? op.sessionId : '?');

function setUp(awaitMore?: () => void) {
  const log: string[] = [];
  const commits: string[][] = [];
  const state = {
    /** Operations whose names contain this fail the transaction they are in. */
    failing: new Map<string, ErrorCode>(),
    full: false,
    attempts: 0,
    gate: Promise.resolve(),
  };
  const commit = async (ops: readonly WriteOp[]): Promise<OpResult[]> => {
    state.attempts++;
    await state.gate;
    const names = ops.map(nameOf);
    for (const name of names) {
      const code = state.failing.get(name);
      if (code === 'INTERNAL') throw new TypeError(`${name} is wrong`);
      if (code) throw new CabanaError(code, name);
    }
    if (state.full) throw new CabanaError('STORE_FULL', 'no room');
    commits.push(names);
    log.push(`commit ${names.join(' ')}`);
    return names.map((name) =>
      name.startsWith('stale') ? { error: new CabanaError('STALE_EPOCH', name) } : { ok: { sessionId: name } },
    );
  };
  const committer = new GroupCommitter({ commit } as unknown as Store, {
    ...(awaitMore ? { awaitMore } : {}),
    onBatch: () => log.push('batch'),
    onFatal: (error) => log.push(`fatal ${error.code}`),
  });
  const item = (name: string, whenFull: WhenFull = 'keep'): Item => ({
    op: named(name),
    whenFull,
    done: (result) => log.push(`${name} ${'ok' in result ? result.ok.sessionId === name : result.error.code}`),
    stalled: () => log.push(`${name} stalled`),
  });
  const submit = (...names: string[]): void => {
    for (const name of names) committer.submit(item(name, name.endsWith('?') ? 'refuse' : 'keep'));
  };
  const barrier = (name: string): void =>
    committer.submit({ op: null, whenFull: 'keep', done: () => log.push(`barrier ${name}`) });
  return { log, commits, state, committer, submit, barrier, item };
}

/** Makes the timer of the retry ours, and fires it. */
function controlRetries(t: { after(fn: () => void): void }): () => void {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
  return () => mock.timers.tick(STORE_FULL_RETRY_MS);
}

test('everything that arrives in one turn of the event loop is one commit', async () => {
  const { committer, submit, commits } = setUp();
  submit('a', 'b');
  await Promise.resolve();
  submit('c');
  await committer.idle();
  submit('d');
  await committer.idle();
  assert.deepEqual(commits, [['a', 'b', 'c'], ['d']]);
});

test('what arrives during a commit is the next one', async () => {
  const { committer, submit, commits, state } = setUp();
  let open!: () => void;
  state.gate = new Promise((resolve) => (open = resolve));
  submit('a');
  while (state.attempts === 0) await new Promise((resolve) => setImmediate(resolve));
  submit('b', 'c');
  open();
  await committer.idle();
  assert.deepEqual(commits, [['a'], ['b', 'c']]);
});

test('everybody is told in order, after the commit and before the end of the batch, of his own result', async () => {
  const { committer, submit, log } = setUp();
  submit('a', 'stale', 'b');
  await committer.idle();
  assert.deepEqual(log, ['commit a stale b', 'a true', 'stale STALE_EPOCH', 'b true', 'batch']);
});

test('a barrier runs when all before it is durable and nothing after it is', async () => {
  const { committer, submit, barrier, log } = setUp();
  barrier('0');
  submit('a');
  barrier('1');
  barrier('2');
  submit('b');
  await committer.idle();
  const happened = log.filter((line) => line !== 'batch');
  assert.deepEqual(happened, ['barrier 0', 'commit a', 'a true', 'barrier 1', 'barrier 2', 'commit b', 'b true']);
});

test('a flood is committed in order, in transactions of a bounded size', async () => {
  const { committer, submit, commits } = setUp();
  const names = Array.from({ length: 2 * COMMIT_MAX_OPS + 1 }, (_, i) => `n${i}`);
  submit(...names);
  await committer.idle();
  assert.deepEqual(
    commits.map((batch) => batch.length),
    [COMMIT_MAX_OPS, COMMIT_MAX_OPS, 1],
  );
  assert.deepEqual(commits.flat(), names);
});

test('one operation that is wrong is refused, and takes no other along', async () => {
  const { committer, submit, log, commits, state } = setUp();
  state.failing.set('bad', 'INTERNAL');
  submit('a', 'bad', 'b');
  await committer.idle();
  assert.deepEqual(commits.flat(), ['a', 'b']);
  assert.deepEqual(
    log.filter((line) => !line.startsWith('commit')),
    ['a true', 'bad INTERNAL', 'b true', 'batch'],
  );
  const result = await new Promise<OpResult>((done) => {
    committer.submit({ op: named('bad'), whenFull: 'refuse', done });
  });
  assert.equal('error' in result && result.error.cause instanceof TypeError, true);
});

test('without room, what may be refused is, and what an agent did is kept in order until there is room', async (t) => {
  const retry = controlRetries(t);
  const { committer, submit, log, commits, state } = setUp();
  state.full = true;
  submit('a', 'b?', 'c');
  await committer.idle();
  assert.deepEqual(log, ['a stalled', 'b? STORE_FULL', 'c stalled', 'batch']);
  assert.equal(committer.stalledCount, 2);
  retry();
  await committer.idle();
  assert.equal(committer.stalledCount, 2);
  assert.deepEqual(commits, []);
  state.full = false;
  retry();
  await committer.idle();
  assert.deepEqual(commits.flat(), ['a', 'c']);
  assert.deepEqual(
    log.filter((line) => line.endsWith('true')),
    ['a true', 'c true'],
  );
  assert.equal(committer.stalledCount, 0);
});

test('while something waits for room, later work of agents queues behind it, and calls take their chance', async (t) => {
  const retry = controlRetries(t);
  const { committer, submit, log, commits, state } = setUp();
  state.full = true;
  submit('a');
  await committer.idle();
  state.full = false;
  submit('b', 'c?', 'd');
  await committer.idle();
  assert.deepEqual(commits, [['c?']]);
  assert.deepEqual(
    log.filter((line) => line.endsWith('stalled')),
    ['a stalled', 'b stalled', 'd stalled'],
  );
  retry();
  await committer.idle();
  assert.deepEqual(commits.flat(), ['c?', 'a', 'b', 'd']);
});

test('a small operation finds room that a larger one before it does not', async () => {
  const { committer, submit, log, commits, state } = setUp();
  state.failing.set('large?', 'STORE_FULL');
  submit('large?', 'small');
  await committer.idle();
  assert.deepEqual(commits, [['small']]);
  assert.ok(log.includes('large? STORE_FULL'));
});

test('while another process holds the database it is asked once for all, and once for each retry', async (t) => {
  const retry = controlRetries(t);
  const { committer, submit, log, commits, state, item } = setUp();
  state.failing.set('a', 'STORE_UNAVAILABLE');
  submit('a', 'b?', 'c', 'd?');
  committer.submit(item('load', 'refuseInOrder'));
  await committer.idle();
  assert.equal(state.attempts, 1);
  const refused = ['b? STORE_UNAVAILABLE', 'd? STORE_UNAVAILABLE', 'load STORE_UNAVAILABLE'];
  assert.deepEqual(log, ['a stalled', refused[0], 'c stalled', ...refused.slice(1), 'batch']);
  retry();
  await committer.idle();
  assert.equal(state.attempts, 2);
  state.failing.clear();
  retry();
  await committer.idle();
  assert.deepEqual(commits, [['a', 'c']]);
});

test('and so it is when that begins while operations are tried one by one', async (t) => {
  controlRetries(t);
  const { committer, submit, log, state } = setUp();
  state.failing.set('bad', 'INTERNAL').set('b?', 'STORE_UNAVAILABLE');
  submit('bad', 'a', 'b?', 'c', 'd?');
  await committer.idle();
  // All of them, and up to b?, each alone.
  assert.equal(state.attempts, 4);
  assert.deepEqual(log.slice(-4), ['b? STORE_UNAVAILABLE', 'c stalled', 'd? STORE_UNAVAILABLE', 'batch']);
});

test('what waits for room is not refused for another operation that is wrong', async (t) => {
  const retry = controlRetries(t);
  const { committer, submit, log, commits, state } = setUp();
  state.full = true;
  submit('a', 'b', 'bad', 'c');
  await committer.idle();
  state.full = false;
  state.failing.set('bad', 'INTERNAL');
  retry();
  await committer.idle();
  assert.deepEqual(commits.flat(), ['a', 'b', 'c']);
  const told = log.filter((line) => / (true|INTERNAL)$/.test(line));
  assert.deepEqual(told, ['a true', 'b true', 'bad INTERNAL', 'c true']);
});

test('failed storage is final: everybody is answered once, and nothing more is written', async () => {
  const { committer, submit, log, state } = setUp();
  state.failing.set('a', 'STORE_IO');
  let open!: () => void;
  state.gate = new Promise((resolve) => (open = resolve));
  submit('a', 'b?');
  while (state.attempts === 0) await new Promise((resolve) => setImmediate(resolve));
  submit('queued');
  open();
  await committer.idle();
  const { attempts } = state;
  submit('later');
  await committer.idle();
  assert.equal(state.attempts, attempts, 'nothing is tried after the failure');
  const told = log.filter((line) => line !== 'batch' && !line.startsWith('fatal')).sort();
  assert.deepEqual(told, ['a STORE_IO', 'b? STORE_IO', 'later STORE_IO', 'queued STORE_IO']);
  assert.equal(log.filter((line) => line === 'fatal STORE_IO').length, 1);
  assert.equal(await committer.close(), false);
});

test('storage that fails while operations are tried one by one answers the rest of them too', async () => {
  const { committer, submit, log, state } = setUp();
  state.failing.set('bad', 'INTERNAL').set('io', 'STORE_IO');
  submit('a', 'bad', 'io', 'b');
  await committer.idle();
  const told = log.filter((line) => /^(a|bad|io|b) /.test(line));
  assert.deepEqual(told, ['a true', 'bad INTERNAL', 'io STORE_IO', 'b STORE_IO']);
});

test('storage that fails while something waits for room answers what waits', async (t) => {
  const retry = controlRetries(t);
  const { committer, submit, log, state } = setUp();
  state.full = true;
  submit('a', 'b');
  await committer.idle();
  state.failing.set('a', 'STORE_IO');
  retry();
  await committer.idle();
  assert.deepEqual(log.slice(-4), ['a STORE_IO', 'b STORE_IO', 'fatal STORE_IO', 'batch']);
  assert.equal(committer.stalledCount, 0);
});

test('close() tries a last time what waits for room, and says whether all of it is on disk', async (t) => {
  controlRetries(t);
  for (const full of [true, false]) {
    const { committer, submit, commits, state } = setUp();
    state.full = true;
    submit('a', 'b');
    await committer.idle();
    state.full = full;
    assert.equal(await committer.close(), !full);
    assert.deepEqual(commits.flat(), full ? [] : ['a', 'b']);
  }
});

test('who waits for what was submitted so far does not wait for those who go on', async () => {
  let goesOn = true;
  const { committer, submit, commits } = setUp(() => {
    if (goesOn) submit(`more ${commits.length}`);
  });
  submit('a');
  await committer.settled();
  assert.equal(commits[0]![0], 'a');
  assert.ok(committer.isWorking, 'others go on');
  goesOn = false;
  await committer.idle();
});

test('what must not overtake is refused while something waits for room, and what may is not', async (t) => {
  controlRetries(t);
  const { committer, submit, log, commits, state, item } = setUp();
  state.full = true;
  submit('a');
  await committer.idle();
  state.full = false;
  committer.submit(item('load', 'refuseInOrder'));
  submit('other?');
  await committer.idle();
  assert.ok(log.includes('load STORE_FULL'));
  assert.deepEqual(commits, [['other?']]);
});

test('and in the batch in which the disk turns out to be full', async (t) => {
  controlRetries(t);
  const { committer, submit, log, state, item } = setUp();
  state.failing.set('a', 'STORE_FULL');
  submit('a');
  committer.submit(item('load', 'refuseInOrder'));
  await committer.idle();
  assert.deepEqual(
    log.filter((line) => line !== 'batch'),
    ['a stalled', 'load STORE_FULL'],
  );
});

test('a retry that was due when the storage failed does not come back', async (t) => {
  const retry = controlRetries(t);
  const { committer, submit, state } = setUp();
  state.full = true;
  submit('a');
  await committer.idle();
  state.full = false;
  state.failing.set('b?', 'STORE_IO');
  submit('b?');
  await committer.idle();
  retry();
  assert.equal(committer.isWorking, false);
  assert.equal(await committer.close(), false);
});
