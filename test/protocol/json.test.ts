// What JSON cannot carry, made carryable.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonSafe } from '../../src/protocol/json.js';

const through = (value: unknown): unknown => JSON.parse(JSON.stringify(value, jsonSafe)) as unknown;

test('a bigint becomes its digits, at any depth', () => {
  assert.deepEqual(through({ a: [12345678901234567890n], b: -1n }), { a: ['12345678901234567890'], b: '-1' });
});

test('byte arrays become base64 of exactly their part of the buffer', () => {
  const bytes = new Uint8Array([9, 9, 1, 2, 3, 9]).subarray(2, 5);
  const base64 = Buffer.from([1, 2, 3]).toString('base64');
  assert.deepEqual(through({ bytes }), { bytes: base64 });
  assert.deepEqual(through({ bytes: Buffer.from([1, 2, 3]) }), { bytes: base64 });
});

test('maps become objects and sets arrays, with what is in them made carryable too', () => {
  const value = new Map<string, unknown>([['a', new Set([1n, new Map([['b', new Uint8Array([1])]])])]]);
  assert.deepEqual(through(value), { a: ['1', { b: 'AQ==' }] });
});

test('what JSON can carry stays as it is', () => {
  const value = { s: 'é"\n', n: -0.5, t: true, z: null, list: [[], {}], type: 'Buffer' };
  assert.deepEqual(through(value), value);
  assert.equal(through(new Date(0)), '1970-01-01T00:00:00.000Z');
});
