// The grammar of session and run ids.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRunId, assertSessionId, isId, newRunId, newSessionId } from '../../src/protocol/ids.js';
import { ID_MAX_CHARS } from '../../src/protocol/limits.js';

test('an id is letters, digits, and _ . : - after the first character', () => {
  for (const id of ['a', '7', 'Z9', 'a_b.c:d-e', 'run_0011', 'A'.repeat(ID_MAX_CHARS)]) assert.ok(isId(id), id);
});

test('an id that is empty, too long, or not safe in a path is none', () => {
  const wrong = ['', '.', '..', '.a', '-a', '_a', ':a', 'a/b', 'a\\b', 'a b', 'a\n', '\na', 'a,b', 'é', 'a\0', 'a%2f'];
  for (const id of [...wrong, 'A'.repeat(ID_MAX_CHARS + 1)]) assert.ok(!isId(id), JSON.stringify(id));
});

test('an id that is no string is none, even if it reads like one', () => {
  for (const id of [undefined, null, 7, ['a'], { toString: () => 'a' }, new String('a')]) assert.ok(!isId(id));
});

test('a refused id is named with the code of what it was to be', () => {
  assert.throws(() => assertSessionId('a/b'), { code: 'SESSION_ID_INVALID', message: /"a\/b"/ });
  assert.throws(() => assertRunId(undefined), { code: 'RUN_ID_INVALID', message: /undefined/ });
  assert.doesNotThrow(() => assertSessionId('a'));
  assert.doesNotThrow(() => assertRunId('a'));
});

test('the message of a refused id does not repeat all of a very long one', () => {
  assert.throws(
    () => assertSessionId('/'.repeat(100_000)),
    (error: Error) => error.message.length < 200,
  );
});

test('new ids are of the grammar and differ', () => {
  const ids = new Set(Array.from({ length: 1000 }, () => [newSessionId(), newRunId()]).flat());
  assert.equal(ids.size, 2000);
  for (const id of ids) assert.ok(isId(id), id);
});
