// Many who write at once: the event loop turns between them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from '../../src/main/server/turns.js';

const SHARE_MS = 1;

function busy(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

test('those who write take turns, in their order, and in no turn of the event loop more than its share', async () => {
  const turns = new Turns(SHARE_MS);
  let loopTurn = 0;
  let done = false;
  const count = (): void => {
    loopTurn++;
    if (!done) setImmediate(count);
  };
  count();
  const written: { writer: number; loopTurn: number }[] = [];
  const writers = Array.from({ length: 5 }, async (_, writer) => {
    for (let i = 0; i < 4; i++) {
      const turn = turns.next();
      if (turn) await turn;
      written.push({ writer, loopTurn });
      // Its share of this turn is used up.
      busy(SHARE_MS);
    }
  });
  await Promise.all(writers);
  done = true;
  assert.equal(new Set(written.map((write) => write.loopTurn)).size, 20, 'one in each turn');
  assert.deepEqual(
    written.map(({ writer }) => writer),
    // The first one is in line again before the others come.
    [0, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 1, 2, 3, 4],
  );
});

test('while a turn has time left nobody waits, and nothing is left of those who came before', async () => {
  const turns = new Turns(60_000);
  for (let i = 0; i < 100; i++) assert.equal(turns.next(), undefined);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(turns.next(), undefined);
});
