// Calls over the batching endpoint, on real message ports.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MessageChannel, Worker, receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { transfer } from 'comlink';
import { remote, answerCalls } from '../../src/protocol/calls.js';
import { BatchEndpoint } from '../../src/protocol/endpoint.js';
import { CabanaError } from '../../src/protocol/errors.js';
import type { ThreadCalls } from './calls-thread.js';

interface Echo {
  echo(value: unknown): unknown;
  fail(value: unknown): never;
  send(port: MessagePort, text: string): void;
  hold(port: MessagePort): Promise<void>;
  never(): Promise<void>;
  hidden(): string;
}

const METHODS = ['echo', 'fail', 'send', 'hold', 'never'] as const satisfies readonly (keyof Echo)[];

const DEAD = new CabanaError('THREAD_DIED', 'the thread is gone');

/** Two ends of a channel; `posted` is what the caller's port sent, message by message. */
function pair(t: TestContext, log: string[] = [], thrown?: Error) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  const posted: unknown[][] = [];
  const post = port1.postMessage.bind(port1);
  port1.postMessage = (message: unknown[], transfers?: never) => {
    posted.push(message);
    post(message, transfers);
  };
  const near = new BatchEndpoint(port1);
  const far = new BatchEndpoint(port2);
  const echo: Echo = {
    echo: (value) => {
      log.push(`call ${String(value)}`);
      return value;
    },
    fail: (value) => {
      throw thrown ?? value;
    },
    send: (port, text) => {
      port.postMessage(text);
      port.close();
    },
    hold: () => new Promise(() => undefined),
    never: () => new Promise(() => undefined),
    hidden: () => 'hidden',
  };
  answerCalls(echo, METHODS, far);
  far.onNote((note) => log.push(`note ${String(note)}`));
  return { near, far, posted, calls: remote<Echo>(METHODS, near) };
}

test('calls of one microtask travel together, and each has its own answer', async (t) => {
  const { calls, posted } = pair(t);
  const count = 100;
  const numbers = Array.from({ length: count }, (_, i) => i);
  assert.deepEqual(await Promise.all(numbers.map((i) => calls.echo(i))), numbers);
  assert.ok(posted.length <= count / 20, `${count} calls took ${posted.length} messages`);
  const before = posted.length;
  await Promise.all([calls.echo('two'), calls.echo('together')]);
  await calls.echo('later');
  assert.equal(posted.length, before + 2);
});

test('small arguments are cloned; large ones, and many, are encoded; large byte arrays are not', async (t) => {
  const { calls, posted } = pair(t);
  const large = { rows: Array.from({ length: 500 }, (_, i) => ({ i, text: `row ${i}`, none: undefined })) };
  const bytes = new Uint8Array(100_000).fill(7);
  assert.deepEqual(await calls.echo({ small: true }), { small: true });
  assert.deepEqual(await calls.echo(large), large);
  assert.deepEqual(await calls.echo(bytes), bytes);
  await Promise.all(Array.from({ length: 10 }, (_, i) => calls.echo(i)));
  const encoded = posted.map((batch) => batch instanceof Uint8Array);
  assert.deepEqual(encoded, [false, true, false, true]);
  const batch = posted[3] as unknown as Uint8Array;
  assert.equal(batch.buffer.byteLength, batch.byteLength, 'an encoded batch is posted without its pool');
});

test('plain data is the same whether it travels cloned or encoded', async (t) => {
  const { calls } = pair(t);
  const value = {
    nothing: null,
    none: undefined,
    numbers: [0, -1, 2 ** 53 - 1, 0.1, NaN, -Infinity, 12n],
    text: 'ünï\u{1F600}',
    map: new Map([[1, new Set([2])]]),
    date: new Date(5),
    bytes: new Uint8Array([1, 2]),
    nested: [[], {}, [{ a: [{}] }]],
  };
  for (const padding of ['', 'x'.repeat(10_000)]) {
    const sent = { ...value, padding };
    const back = (await calls.echo(sent)) as typeof sent;
    assert.deepEqual(back, sent);
    assert.ok(back.bytes instanceof Uint8Array);
    assert.equal(back.bytes.buffer.byteLength, 2, 'bytes do not keep the batch in memory');
  }
});

test('an error keeps its code, its cause and its stack on the way to the caller', async (t) => {
  const thrown = new CabanaError('STORE_FULL', 'no room', { cause: new TypeError('why') });
  await assert.rejects(pair(t, [], thrown).calls.fail(null), (error: CabanaError) => {
    assert.notEqual(error, thrown);
    assert.ok(error instanceof CabanaError);
    assert.equal(error.code, 'STORE_FULL');
    assert.equal(error.stack, thrown.stack);
    assert.equal((error.cause as Error).name, 'TypeError');
    return true;
  });
  await assert.rejects(pair(t).calls.fail('just text'), { message: 'just text' });
});

test('only the methods that were named can be called', async (t) => {
  const { near } = pair(t);
  const calls = remote<Echo>(['hidden'], near);
  await assert.rejects(calls.hidden(), { code: 'INTERNAL', message: /hidden/ });
});

test('notes arrive in order with the calls around them', async (t) => {
  const log: string[] = [];
  const { near, calls } = pair(t, log);
  near.note('a');
  const first = calls.echo('b');
  near.note('c');
  const second = calls.echo('d'.repeat(5000));
  near.note('e');
  await Promise.all([first, second]);
  await calls.echo('f');
  assert.deepEqual(log, ['note a', 'call b', 'note c', `call ${'d'.repeat(5000)}`, 'note e', 'call f']);
});

test('flush() posts at once what would wait for the end of the microtask, and nothing twice', async (t) => {
  const { near, posted, calls } = pair(t);
  near.note('a');
  assert.equal(posted.length, 0);
  near.flush();
  assert.equal(posted.length, 1);
  near.flush();
  await calls.echo(1);
  assert.equal(posted.length, 2);
});

test('a port can be given to the other end with a call', async (t) => {
  const { calls } = pair(t);
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  await calls.send(transfer(port2, [port2]), 'through the port');
  assert.deepEqual(receiveMessageOnPort(port1), { message: 'through the port' });
});

test('a call that cannot be sent fails alone: whatever else is in its batch arrives, in order', async (t) => {
  for (const many of [0, 20]) {
    const log: string[] = [];
    const { near, calls } = pair(t, log);
    near.note('before');
    const first = calls.echo('first');
    const unsendable = [Symbol('no clone'), () => 1, { deep: [new Proxy({}, {})] }].map((value) => calls.echo(value));
    const rest = Array.from({ length: many }, (_, i) => calls.echo(i));
    near.note('between');
    const last = calls.echo('last');
    near.note('behind');
    const outcomes = await Promise.allSettled(unsendable);
    assert.deepEqual(await Promise.all([first, last, ...rest]), ['first', 'last', ...rest.keys()]);
    assert.equal(await calls.echo('later'), 'later');
    // A function and a proxy can be encoded, which a large batch is.
    const refused = many === 0 ? outcomes : outcomes.slice(0, 1);
    for (const outcome of refused) {
      assert.ok(outcome.status === 'rejected' && outcome.reason instanceof CabanaError);
      assert.equal(outcome.reason.code, 'VALUE_NOT_ENCODABLE');
      assert.match(outcome.reason.message, /cannot be sent: ./);
    }
    const heard = log.filter((line) => !/\d|object|=>/.test(line));
    assert.deepEqual(heard, ['note before', 'call first', 'note between', 'call last', 'note behind', 'call later']);
  }
});

test('an answer that cannot be sent fails its call alone', async (t) => {
  const { near, far } = pair(t);
  const answers: Record<string, unknown> = { fine: 1, symbol: Symbol('no clone'), callback: () => 1, also: 'fine' };
  far.onCall((method) => answers[method]);
  const [fine, symbol, callback, also] = await Promise.allSettled(
    Object.keys(answers).map((method) => near.call(method, [])),
  );
  assert.deepEqual(
    [fine, also].map((outcome) => outcome?.status === 'fulfilled' && outcome.value),
    [1, 'fine'],
  );
  for (const outcome of [symbol, callback]) {
    assert.ok(outcome?.status === 'rejected' && outcome.reason instanceof CabanaError);
    assert.equal(outcome.reason.code, 'VALUE_NOT_ENCODABLE');
  }
  const later = Promise.resolve('later');
  far.onCall((method) => (method === 'bad' ? later.then(() => Symbol('no clone')) : later));
  const both = [near.call('bad', []), near.call('good', [])];
  await assert.rejects(both[0]!, { code: 'VALUE_NOT_ENCODABLE' });
  assert.equal(await both[1], 'later');
});

test('the number of a call that could not be sent is used again, by one that gets its own answer', async (t) => {
  const { calls } = pair(t);
  for (let round = 0; round < 5; round++) {
    await assert.rejects(
      calls.echo(() => 1),
      { code: 'VALUE_NOT_ENCODABLE' },
    );
    const numbers = Array.from({ length: 5 }, (_, i) => round * 10 + i);
    assert.deepEqual(await Promise.all(numbers.map((i) => calls.echo(i))), numbers);
  }
});

test('settle() rejects every pending and every later call with the typed error', async (t) => {
  const { near, calls, posted } = pair(t);
  const pending = [calls.never(), calls.never()];
  await calls.echo(1);
  const unposted = calls.echo(2);
  near.settle(DEAD);
  near.settle(new CabanaError('INTERNAL', 'too late'));
  const later = calls.echo(3);
  const before = posted.length;
  for (const call of [...pending, unposted, later, calls.never()]) {
    await assert.rejects(call, (error: CabanaError) => error instanceof CabanaError && error.code === 'THREAD_DIED');
  }
  near.note('to nobody');
  near.flush();
  assert.equal(posted.length, before, 'nothing is posted to a dead thread');
});

test('a call that gave a port away is rejected by settle() like any other', async (t) => {
  const { near, calls } = pair(t);
  const hold = (): Promise<void> => {
    const { port1, port2 } = new MessageChannel();
    t.after(() => port1.close());
    return calls.hold(transfer(port2, [port2]));
  };
  const pending = hold();
  await calls.echo('the call before it has arrived');
  near.settle(DEAD);
  for (const call of [pending, hold()]) await assert.rejects(call, { code: 'THREAD_DIED' });
});

test('answers that arrive after settle() are passed over, and what is behind them in the batch is still read', async () => {
  const { port1, port2 } = new MessageChannel();
  const heard: unknown[] = [];
  const near = new BatchEndpoint(port1);
  const far = new BatchEndpoint(port2);
  let sayNote = (): void => undefined;
  near.onNote((note) => heard.push(note));
  answerCalls<Pick<Echo, 'echo'>>({ echo: (value) => (sayNote(), value) }, ['echo'], far);
  const calls = remote<Pick<Echo, 'echo'>>(['echo'], near);
  // In the same batch, behind the answer.
  sayNote = () => queueMicrotask(() => far.note('behind'));
  // The port stays open so that the answer arrives although nobody waits for it any more.
  port1.close = () => undefined;
  const call = calls.echo(1);
  near.flush();
  near.settle(DEAD);
  await assert.rejects(call, { code: 'THREAD_DIED' });
  await once(port1, 'message');
  assert.deepEqual(heard, ['behind']);
  port2.close();
});

test('calls that were answered before the death are not touched by it', async (t) => {
  const { near, calls } = pair(t);
  const answered = calls.echo('answer');
  assert.equal(await answered, 'answer');
  near.settle(DEAD);
  assert.equal(await answered, 'answer');
});

test('answers that nobody waits for any more do not spoil the batch that they came in', async (t) => {
  const { near, far } = pair(t);
  far.onCall((method) => {
    if (method === 'fail') throw new Error('refused');
    far.note(method);
    return 'answered';
  });
  const heard: unknown[] = [];
  const last = new Promise<void>((resolve) =>
    near.onNote((note) => {
      heard.push(note);
      near.settle(DEAD);
      if (note === 'last') resolve();
    }),
  );
  for (const call of ['first', 'fail', 'last'].map((method) => near.call(method, []))) {
    await assert.rejects(call, { code: 'THREAD_DIED' });
  }
  await last;
  assert.deepEqual(heard, ['first', 'last']);
});

test('calls of a thread that is terminated are rejected when its end is told, not left pending', async (t) => {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(fileURLToPath(new URL('./calls-thread.js', import.meta.url)), {
    workerData: { port: port2 },
    transferList: [port2],
  });
  t.after(() => worker.terminate());
  const near = new BatchEndpoint(port1);
  const calls = remote<ThreadCalls>(['double', 'never'], near);
  worker.once('exit', () => near.settle(DEAD));
  assert.equal(await calls.double(21), 42);
  const pending = [calls.never(), calls.never()];
  const exit = once(worker, 'exit');
  await worker.terminate();
  await exit;
  for (const call of pending) await assert.rejects(call, { code: 'THREAD_DIED' });
  await assert.rejects(calls.double(1), { code: 'THREAD_DIED' });
});
