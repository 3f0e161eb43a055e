// The bound on what an agent's hooks may await.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inTime } from '../../src/worker/deadline.js';

test('work that ends in time gives its own result, or its own error', async () => {
  assert.equal(await inTime(Promise.resolve(7), 10_000, 'SAVE_FAILED', 'save'), 7);
  await assert.rejects(inTime(Promise.reject(new Error('mine')), 10_000, 'SAVE_FAILED', 'save'), { message: 'mine' });
});

test('work that never ends is answered with the code and the name of the hook', async () => {
  const never = new Promise<never>(() => undefined);
  await assert.rejects(inTime(never, 5, 'RESTORE_FAILED', 'restore'), {
    code: 'RESTORE_FAILED',
    message: 'restore did not end within 5 ms',
  });
});
