// Hooks of many agents at once: the event loop turns between slow ones; quick ones do not wait for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TIME_SLICE_MS } from '../../src/protocol/limits.js';
import { Turns } from '../../src/worker/turns.js';

function spin(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until;);
}

/** Lets so many hooks in at once. @returns after which of them timers had their turn */
async function letIn(count: number, hook: (i: number) => void): Promise<number[]> {
  const turns = new Turns();
  const turnedAfter = new Set<number>();
  let begun = 0;
  const timer = setInterval(() => turnedAfter.add(begun), 1);
  const hooks = Array.from({ length: count }, async (_, i) => {
    await turns.next();
    assert.equal(i, begun++, 'in their order');
    hook(i);
  });
  await Promise.all(hooks);
  clearInterval(timer);
  return [...turnedAfter];
}

test('between slow hooks timers have their turn', async () => {
  const turnedAfter = await letIn(20, () => spin(12));
  assert.ok(turnedAfter.length >= 15, `after ${turnedAfter.join()}`);
});

test('slow hooks behind many quick ones are let in one by one soon', async () => {
  const turnedAfter = await letIn(300, (i) => {
    if (i >= 200) spin(12);
  });
  const afterSlow = turnedAfter.filter((begun) => begun > 240);
  assert.ok(afterSlow.length >= 50, `after ${turnedAfter.join()}`);
});

test('quick hooks do not wait for the event loop', async () => {
  // On a busy core this thread may lose a whole slice between two of them: then they were not quick.
  for (let turned = true; turned;) {
    const begun = performance.now();
    const turns = new Turns();
    turned = false;
    const turn = setImmediate(() => (turned = true));
    await Promise.all([1, 2, 3, 4].map(() => turns.next()));
    clearImmediate(turn);
    assert.ok(!turned || performance.now() - begun >= TIME_SLICE_MS, 'they were let in within a slice');
  }
});
