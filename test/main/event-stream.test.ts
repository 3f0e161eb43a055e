// A subscriber's queue, and the pace at which messages of threads are delivered.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { MessageChannel } from 'node:worker_threads';
import { PacedPort } from '../../src/main/pool/paced-port.js';
import { EventStream, type EventBatch, type SessionEvent } from '../../src/main/registry/events/event-stream.js';
import { Subscriptions } from '../../src/main/registry/events/subscriptions.js';
import { EventPacker } from '../../src/protocol/event-batch.js';

const event = (data: unknown): SessionEvent => ({ type: 'event', runId: 'r', data });

/** Events from..to-1, which count how often they are made out. */
function batch(from: number, to: number, bytes = 0): EventBatch & { made: number } {
  return {
    made: 0,
    count: to - from,
    bytes,
    at(index) {
      this.made++;
      return event(from + index);
    },
  };
}

/** What is read until the stream ends: data of events, and `-missed`. */
async function read(stream: EventStream): Promise<unknown[]> {
  const seen: unknown[] = [];
  for await (const each of stream) {
    if (each.type === 'event') seen.push(each.data);
    if (each.type === 'gap') seen.push(-each.missed);
  }
  return seen;
}

describe('the queue of a subscriber', () => {
  it('drops the oldest events of a batch, or whole batches, unread', async () => {
    const stream = new EventStream(() => undefined, 4);
    const first = batch(0, 3);
    stream.pushBatch(first);
    stream.pushBatch(batch(3, 5));
    stream.pushBatch(batch(5, 7));
    stream.pushBatch(batch(7, 8));
    stream.close();
    assert.deepEqual(await read(stream), [-4, 4, 5, 6, 7]);
    assert.equal(first.made, 0);
  });

  it('keeps whole what came at once, however much it is, until more comes', async () => {
    const stream = new EventStream(() => undefined, 4);
    stream.push(event(-1));
    stream.pushBatch(batch(0, 10));
    assert.deepEqual((await stream.next()).value, { type: 'gap', missed: 1 });
    assert.deepEqual((await stream.next()).value, event(0));
    stream.push(event(10));
    stream.close();
    assert.deepEqual(await read(stream), [-6, 7, 8, 9, 10]);
  });

  it('is bounded in bytes as well; the newest batch stays, whatever its size', async () => {
    const stream = new EventStream(() => undefined, 100, 1_000);
    stream.pushBatch(batch(0, 2, 600));
    stream.pushBatch(batch(2, 4, 600));
    stream.pushBatch(batch(4, 6, 5_000));
    stream.close();
    assert.deepEqual(await read(stream), [-4, 4, 5]);
  });

  it('tells what a thread did not send in its place, also when it drops that itself', async () => {
    const stream = new EventStream(() => undefined, 3);
    stream.push(event(0));
    stream.pushGap(10);
    stream.pushGap(1);
    stream.push(event(1));
    stream.pushGap(100);
    assert.deepEqual((await stream.next()).value, event(0));
    assert.deepEqual((await stream.next()).value, { type: 'gap', missed: 11 });
    stream.pushGap(1_000);
    for (let i = 2; i < 6; i++) stream.push(event(i));
    stream.pushGap(5);
    stream.close();
    // Two were dropped, and what was missing behind them.
    assert.deepEqual(await read(stream), [-1_102, 3, 4, 5, -5]);
  });

  it('answers several calls of next() in their order', async () => {
    const stream = new EventStream(() => undefined);
    const calls = Array.from({ length: 5 }, () => stream.next());
    stream.pushBatch(batch(0, 2));
    stream.pushGap(3);
    stream.push(event(2));
    stream.close();
    const values = (await Promise.all(calls)).map(({ value }) => value as unknown);
    assert.deepEqual(values, [event(0), event(1), { type: 'gap', missed: 3 }, event(2), undefined]);
    const other = new EventStream(() => undefined);
    const waiting = other.next();
    await other.return();
    assert.equal((await waiting).done, true);
  });

  it('shares what is decoded among the subscribers; what cannot be decoded is missing', async () => {
    const subscriptions = new Subscriptions({ onWatchers: () => undefined });
    const [one, two, ofOther] = [undefined, 'r', 'q'].map((runId) => subscriptions.subscribe('s', runId));
    const packer = new EventPacker();
    for (const value of [{ i: 0 }, 'abc', { i: 2 }]) packer.add(value);
    const packed = packer.take();
    packed[packed.indexOf(0xa3, 5)] = 0xc1;
    subscriptions.publishEvents('s', 'r', packed);
    subscriptions.publishGap('s', 'r', 4);
    const first = await one!.next();
    assert.equal(first.value, (await two!.next()).value);
    subscriptions.endAll();
    assert.deepEqual([first.value, await read(one!)], [event({ i: 0 }), [-1, { i: 2 }, -4]]);
    assert.deepEqual(await read(ofOther!), []);
  });
});

describe('a paced port', () => {
  function paced(listener: (message: unknown) => void) {
    const { port1, port2 } = new MessageChannel();
    const port = new PacedPort(port1, 1);
    port.on('message', listener);
    return { port, far: port2 };
  }

  it('lets the event loop turn between messages that take long, and keeps their order', async () => {
    const seen: unknown[] = [];
    let turns = 0;
    const { port, far } = paced((message) => {
      const end = performance.now() + 2;
      while (performance.now() < end);
      seen.push(message);
      // What a message sets off is done before the next one.
      void Promise.resolve().then(() => seen.push(`after ${String(message)}`));
    });
    for (let i = 0; i < 10; i++) far.postMessage(i);
    while (seen.length < 20) {
      await pause(0);
      turns++;
    }
    assert.deepEqual(seen, Array.from({ length: 10 }, (_, i) => [i, `after ${i}`]).flat());
    assert.ok(turns >= 5, `${turns} turns`);
    port.close();
  });

  it('delivers what has arrived when it is closed', async () => {
    const seen: unknown[] = [];
    const { port, far } = paced((message) => {
      const end = performance.now() + 2;
      while (performance.now() < end);
      seen.push(message);
    });
    for (let i = 0; i < 5; i++) far.postMessage(i);
    while (seen.length === 0) await pause(0);
    port.close();
    assert.deepEqual(seen, [0, 1, 2, 3, 4]);
    await pause(5);
    assert.equal(seen.length, 5);
  });
});
