// What is encoded is decoded again; what cannot be is refused by name.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeEntry,
  decodeState,
  decodeValue,
  encodeEntry,
  encodeState,
  encodeValue,
  isPlainObject,
  type ValueKind,
} from '../../src/protocol/codec.js';
import type { ErrorCode } from '../../src/protocol/errors.js';
import {
  ENTRY_MAX_BYTES,
  EVENT_MAX_BYTES,
  INPUT_MAX_BYTES,
  OUTPUT_MAX_BYTES,
  PARAMS_MAX_BYTES,
} from '../../src/protocol/limits.js';
import type { JournalEntry } from '../../src/protocol/session.js';

const refused = (code: ErrorCode) => (error: unknown) => (error as { code?: unknown }).code === code;

const PORTABLE: unknown[] = [
  null,
  true,
  0,
  -1,
  0.1,
  2 ** 53,
  NaN,
  -Infinity,
  '',
  'é 😀 \u0000',
  'x'.repeat(70_000),
  [],
  [[1], ['a', null]],
  { a: { b: [1, { c: 'd' }] }, 'a key': 1, '': 2 },
  1n,
  -(2n ** 63n),
  2n ** 64n - 1n,
  2n ** 100n,
  new Date(1_700_000_000_123),
];

test('values of JSON, bigints and dates come back as they were', () => {
  for (const value of PORTABLE) {
    assert.deepEqual(decodeValue(encodeValue(value, 'input')), value);
    assert.deepEqual(decodeEntry(encodeEntry({ content: value })), { content: value });
    if (value !== 2n ** 100n) assert.deepEqual(decodeState(encodeState(value)), value);
  }
});

test('an entry is a plain map that any MessagePack reader can read', () => {
  const bytes = encodeEntry({ role: 'a', content: 1 });
  const portable = [0x82, 0xa4, ...Buffer.from('role'), 0xa1, 0x61, 0xa7, ...Buffer.from('content'), 1];
  assert.deepEqual([...bytes], [1, ...portable]);
});

test('typed arrays keep their type and their elements, in entries and in states', () => {
  const arrays = [
    new Uint8Array([1, 2, 255]),
    new Int16Array([-1, 300]),
    new Uint32Array([2 ** 32 - 1]),
    new Float32Array([0.5, -2]),
    new Float64Array([Math.PI, -0.1, 1e300]),
    new BigInt64Array([-5n]),
    new Float64Array([1, 2, 3, 4]).subarray(1, 3),
  ];
  for (const array of arrays) {
    const name = array.constructor.name;
    for (const back of [decodeValue(encodeValue({ array }, 'output')), decodeState(encodeState({ array }))]) {
      const copy = (back as { array: typeof array }).array;
      // A byte array may come back as Node's kind of it.
      assert.ok(copy instanceof (array.constructor as new () => unknown), name);
      assert.deepEqual(Array.from(copy as Float64Array), Array.from(array as Float64Array), name);
    }
  }
});

test('a state keeps maps, sets, shared parts and circles', () => {
  const shared = { n: 1 };
  const state: Record<string, unknown> = { map: new Map([[{ k: 1 }, new Set([shared])]]), a: shared, b: shared };
  state['self'] = state;
  const back = decodeState(encodeState(state)) as typeof state;
  assert.equal(back['self'], back);
  assert.equal(back['a'], back['b']);
  const [key, set] = [...(back['map'] as Map<unknown, Set<unknown>>)][0]!;
  assert.deepEqual(key, { k: 1 });
  assert.ok(set.has(back['a']));
});

test('instances of subclasses of Map, Set and Array keep what is in them', () => {
  class Recent extends Map<string, unknown> {}
  class Tags extends Set<string> {}
  class Rows extends Array<number> {}
  const recent = new Recent([['a', 1]]);
  recent.set('self', recent);
  const back = decodeState(encodeState({ recent, again: recent, tags: new Tags(['t']), rows: Rows.of(1, 2) }));
  const map = new Map<string, unknown>([['a', 1]]);
  map.set('self', map);
  assert.deepEqual(back, { recent: map, again: map, tags: new Set(['t']), rows: [1, 2] });
  const { recent: first, again } = back as Record<string, unknown>;
  assert.equal(first, again);
  const entry = { deep: new Recent([['b', new Recent([['c', 2]])]]) };
  assert.deepEqual(decodeEntry(encodeEntry(entry)), { deep: { b: { c: 2 } } });
});

test('bytes that were decoded do not keep what was around them in memory', () => {
  const around = { bytes: Buffer.from('few'), many: new Uint8Array(100_000) };
  for (const back of [decodeState(encodeState(around)), decodeEntry(encodeEntry(around))]) {
    const { bytes } = back as { bytes: Uint8Array };
    assert.deepEqual([...bytes], [...Buffer.from('few')]);
    assert.equal(bytes.buffer.byteLength, 3);
  }
});

test('undefined is a state, and an absent output', () => {
  assert.equal(decodeState(encodeState(undefined)), undefined);
  assert.equal(decodeValue(encodeValue(undefined, 'output')), undefined);
});

test('what is returned owns exactly its buffer, so that posting it drags nothing along', () => {
  for (const bytes of [encodeValue('x', 'input'), encodeEntry({ content: 'x' }), encodeState({ x: 1 })]) {
    assert.equal(bytes.byteOffset, 0);
    assert.equal(bytes.buffer.byteLength, bytes.byteLength);
  }
});

test('an encoding is not changed by the next one', () => {
  const first = encodeEntry({ content: 'first' });
  const before = [...first];
  encodeEntry({ content: 'second, which is longer' });
  assert.deepEqual([...first], before);
});

test('everything encoded begins with the version, and another version is refused by name', () => {
  const bytes = encodeEntry({ content: 1 });
  assert.equal(bytes[0], 1);
  bytes[0] = 2;
  for (const decode of [decodeEntry, decodeValue, decodeState]) {
    assert.throws(() => decode(bytes), { code: 'STORE_CORRUPT', message: /version 2/ });
    assert.throws(() => decode(new Uint8Array(0)), { code: 'STORE_CORRUPT', message: /empty/ });
  }
});

test('bytes that were cut off, or go on after the value, are refused', () => {
  const bytes = encodeEntry({ content: 'some text' });
  assert.throws(() => decodeEntry(bytes.subarray(0, -3)), refused('STORE_CORRUPT'));
  assert.throws(() => decodeEntry(new Uint8Array([...bytes, 1, 2])), refused('STORE_CORRUPT'));
  assert.throws(() => decodeEntry(encodeValue([1], 'input')), refused('STORE_CORRUPT'));
});

test('an entry is a plain object and nothing else', () => {
  class Message {
    role = 'user';
  }
  for (const entry of [null, 'text', [1], 7, new Message(), new Map(), new Date()]) {
    assert.throws(() => encodeEntry(entry as unknown as JournalEntry), refused('ENTRY_INVALID'));
    assert.ok(!isPlainObject(entry));
  }
  assert.deepEqual(decodeEntry(encodeEntry(Object.assign(Object.create(null) as JournalEntry, { a: 1 }))), { a: 1 });
});

test('what cannot be encoded is refused by name, and the next value is encoded well', () => {
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  for (const value of [circle, { s: Symbol('s') }]) {
    assert.throws(() => encodeEntry({ content: value }), { code: 'VALUE_NOT_ENCODABLE', message: /this entry/ });
    assert.throws(() => encodeValue(value, 'event'), { code: 'VALUE_NOT_ENCODABLE', message: /this event/ });
    assert.deepEqual(decodeEntry(encodeEntry({ content: 'next' })), { content: 'next' });
  }
  assert.throws(() => encodeState({ s: Symbol('s') }), refused('VALUE_NOT_ENCODABLE'));
  assert.deepEqual(decodeState(encodeState({ next: 1 })), { next: 1 });
});

test('a value of exactly its cap is taken and one byte more is refused with the code of its kind', () => {
  const caps: [Exclude<ValueKind, 'state' | 'entry'>, number][] = [
    ['params', PARAMS_MAX_BYTES],
    ['event', EVENT_MAX_BYTES],
    ['input', INPUT_MAX_BYTES],
    ['output', OUTPUT_MAX_BYTES],
  ];
  // The version byte, the head of a long byte array, and the array.
  const overhead = encodeValue(new Uint8Array(100_000), 'input').byteLength - 100_000;
  for (const [kind, cap] of caps) {
    const largest = new Uint8Array(cap - overhead);
    assert.equal(encodeValue(largest, kind).byteLength, cap, kind);
    assert.throws(() => encodeValue(new Uint8Array(cap - overhead + 1), kind), refused('PAYLOAD_TOO_LARGE'), kind);
  }
  assert.throws(() => encodeEntry({ content: 'x'.repeat(ENTRY_MAX_BYTES) }), refused('ENTRY_TOO_LARGE'));
});
