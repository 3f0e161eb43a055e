// Errors across threads: what survives.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CabanaError,
  ERROR_CODES,
  fromWire,
  isErrorCode,
  messageOf,
  toWire,
  type ErrorCode,
} from '../../src/protocol/errors.js';

const across = (error: unknown): Error => fromWire(structuredClone(toWire(error)));

test('an error keeps its code, message and stack across threads, and is a CabanaError there', () => {
  const sent = new CabanaError('STORE_FULL', 'no room');
  const arrived = across(sent);
  assert.ok(arrived instanceof CabanaError);
  assert.equal(arrived.code, 'STORE_FULL');
  assert.equal(arrived.message, 'no room');
  assert.equal(arrived.stack, sent.stack);
  assert.equal(arrived.retryable, true);
  assert.equal(arrived.status, 507);
});

test('an error keeps its causes, each with its own code and name', () => {
  const root = new TypeError('not a function');
  const middle = new CabanaError('AGENT_ERROR', 'it threw', { cause: root });
  const arrived = across(new CabanaError('RESTORE_FAILED', 'no agent', { cause: middle }));
  const cause = arrived.cause as CabanaError;
  assert.equal(cause.code, 'AGENT_ERROR');
  const bottom = cause.cause as Error;
  assert.ok(!(bottom instanceof CabanaError));
  assert.deepEqual([bottom.name, bottom.message, bottom.stack], ['TypeError', 'not a function', root.stack]);
  assert.equal(bottom.cause, undefined);
});

test('a chain of causes is cut after three, and a circle of them ends', () => {
  const error = new Error('round');
  error.cause = error;
  const depths: string[] = [];
  for (let e: Error | undefined = across(error); e; e = e.cause as Error | undefined) depths.push(e.message);
  assert.deepEqual(depths, ['round', 'round', 'round', 'round']);
});

test('a code that is not of the table does not cross', () => {
  const arrived = across(Object.assign(new Error('no such file'), { code: 'ENOENT' }));
  assert.ok(!(arrived instanceof CabanaError));
  assert.equal((arrived as { code?: unknown }).code, undefined);
  assert.equal(arrived.message, 'no such file');
});

test('what is thrown without being an error arrives as one', () => {
  for (const [thrown, message] of [
    ['text', 'text'],
    [undefined, 'undefined'],
    [null, 'null'],
    [7n, '7'],
    [Symbol('s'), 'Symbol(s)'],
  ] as const) {
    assert.equal(across(thrown).message, message);
  }
});

test('a thrown object that cannot even become text arrives as an error all the same', () => {
  const bare: unknown = Object.create(null);
  assert.ok(across(bare) instanceof Error);
  assert.equal(typeof messageOf(bare), 'string');
});

test('names of Object.prototype are no codes', () => {
  for (const code of ['toString', 'constructor', '__proto__', '', undefined, 7]) assert.ok(!isErrorCode(code));
});

test('every code has an HTTP error status and a meaning that is a sentence', () => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    const { status, meaning } = ERROR_CODES[code];
    assert.match(code, /^[A-Z][A-Z_]+$/);
    assert.ok(isErrorCode(code));
    assert.ok(status >= 400 && status < 600, `${code}: ${status}`);
    assert.match(meaning, /^[A-Z].*\.$/, code);
    assert.ok(!meaning.includes('|'), `${code}: a table cell has no |`);
  }
});
