// Batches of events: what goes in comes out, and what cannot be read costs nothing but itself.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventPacker, UNREADABLE, countOf, unpackEvents } from '../../src/protocol/event-batch.js';
import { EVENT_MAX_BYTES } from '../../src/protocol/limits.js';

function packed(...events: unknown[]): Uint8Array {
  const packer = new EventPacker();
  for (const event of events) packer.add(event);
  return packer.take();
}

test('a batch gives back its events, in order, as they were when they were added', () => {
  const changing = { text: 'first' };
  const packer = new EventPacker();
  packer.add(changing);
  changing.text = 'second';
  packer.add(changing);
  const others = [null, 0, -1.5, '', 'ü€😀', true, [], { a: { b: [null] } }, new Date(0), 2n ** 60n, new Set([1])];
  for (const other of others) packer.add(other);
  const batch = packer.take();
  assert.equal(countOf(batch), 2 + others.length);
  assert.deepEqual(unpackEvents(batch), [{ text: 'first' }, { text: 'second' }, ...others]);
});

test('a packer is empty after it was taken from, and starts again, however large the last batch was', () => {
  const packer = new EventPacker();
  for (let round = 0; round < 3; round++) {
    const large = 'x'.repeat(300_000 * round);
    for (let i = 0; i < 500; i++) packer.add({ i, round });
    packer.add(large);
    const batch = packer.take();
    const events = unpackEvents(batch);
    assert.equal(events.length, 501);
    assert.deepEqual(events[499], { i: 499, round });
    assert.equal(events[500], large);
    assert.equal(batch.byteLength, batch.buffer.byteLength, 'memory of its own');
  }
});

test('an event that is refused adds nothing', () => {
  const packer = new EventPacker();
  packer.add(1);
  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  assert.throws(() => packer.add({ a: Symbol('none') }), { code: 'VALUE_NOT_ENCODABLE' });
  assert.throws(() => packer.add(cycle), { code: 'VALUE_NOT_ENCODABLE' });
  assert.throws(() => packer.add('x'.repeat(EVENT_MAX_BYTES)), { code: 'PAYLOAD_TOO_LARGE' });
  packer.add(2);
  assert.deepEqual(unpackEvents(packer.take()), [1, 2]);
});

test('an event that cannot be decoded costs the others of its batch nothing', () => {
  const batch = packed({ i: 0 }, 'abc', { i: 2 });
  const at = batch.indexOf(0xa3, 5);
  assert.deepEqual(
    [...batch.subarray(at + 1, at + 4)],
    [...'abc'].map((c) => c.charCodeAt(0)),
  );
  // A type byte that MessagePack does not know.
  batch[at] = 0xc1;
  assert.deepEqual(unpackEvents(batch), [{ i: 0 }, UNREADABLE, { i: 2 }]);
});
