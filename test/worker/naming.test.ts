// An agent may rename its session as often as it likes: what reaches the store is bounded, and ends with the last name.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Naming } from '../../src/worker/naming.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('of a burst the first name is written at once and the last when the agent yields', async () => {
  const written: string[] = [];
  const calledAt: number[] = [];
  const naming = new Naming((name, at) => {
    written.push(name);
    calledAt.push(at);
  });
  for (let i = 0; i < 10_000; i++) naming.rename(`name ${i}`, i);
  assert.deepEqual(written, ['name 0']);
  await turn();
  assert.deepEqual(written, ['name 0', 'name 9999']);
  naming.rename('later', 10_000);
  assert.deepEqual(written.slice(2), ['later']);
  await turn();
  assert.equal(written.length, 3);
  // Also of one that was written late: when it was given.
  assert.deepEqual(calledAt, [0, 9_999, 10_000]);
});

test('what is about to be saved has the last name, and it is written once', async () => {
  const written: string[] = [];
  const naming = new Naming((name) => written.push(name));
  naming.settle();
  for (const name of ['a', 'b', 'c']) naming.rename(name, 0);
  naming.settle();
  assert.deepEqual(written, ['a', 'c']);
  await turn();
  assert.deepEqual(written, ['a', 'c']);
});
