// Who is suspected of taking threads down, for how long, and which threads that leaves.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { threadsOfSuspects } from '../../src/main/pool/placement.js';
import { Suspicion } from '../../src/main/registry/suspicion.js';
import { ALARM_MS, PROVEN_MAX_SESSIONS } from '../../src/protocol/limits.js';
import { VirtualClock } from '../support/clock.js';

function suspicionOf(threads: number) {
  const clock = new VirtualClock();
  const suspicion = new Suspicion({ threads, clock });
  const allowed = (id: string): number[] =>
    Array.from({ length: threads + 1 }, (_, no) => no).filter((no) => suspicion.allows(id, { no }));
  const suited = (id: string): number[] =>
    Array.from({ length: threads + 1 }, (_, no) => no).filter((no) => suspicion.suits(id, { no }));
  return { clock, suspicion, allowed, suited };
}

describe('suspicion', () => {
  it('leaves suspects one half of the threads, the smaller one; one thread is for everybody', () => {
    const halves = [1, 2, 3, 4, 7].map((threads) => threadsOfSuspects(threads));
    assert.deepEqual(halves, [
      { from: 0, to: 1 },
      { from: 1, to: 2 },
      { from: 2, to: 3 },
      { from: 2, to: 4 },
      { from: 4, to: 7 },
    ]);
  });

  it('is nobody’s business until a thread was in trouble', () => {
    const { allowed, suited } = suspicionOf(2);
    assert.deepEqual(
      [allowed('new'), suited('new')],
      [
        [0, 1, 2],
        [0, 1, 2],
      ],
    );
  });

  it('keeps who took a thread down to its half, and the others off it if they can, until a run of it completes', () => {
    const { clock, suspicion, allowed, suited } = suspicionOf(2);
    suspicion.struck('bad');
    clock.advance(100 * ALARM_MS);
    assert.deepEqual([allowed('bad'), suited('bad')], [[1], [1]]);
    assert.deepEqual(
      [allowed('new'), suited('new')],
      [
        [0, 1, 2],
        [0, 2],
      ],
    );
    suspicion.completed('bad');
    assert.deepEqual(
      [allowed('bad'), suited('bad')],
      [
        [0, 1, 2],
        [0, 1, 2],
      ],
    );
    suspicion.struck('bad');
    suspicion.forget('bad');
    assert.equal(suspicion.suspects('bad'), false);
  });

  it('falls on everybody who has not completed a run, when several sessions are in trouble', () => {
    const { clock, suspicion, allowed } = suspicionOf(2);
    suspicion.completed('good');
    suspicion.trouble('one');
    suspicion.trouble('one');
    assert.equal(suspicion.suspects('new'), false, 'one session is no alarm, however often');
    clock.advance(ALARM_MS - 1);
    suspicion.trouble('two');
    assert.deepEqual([allowed('new'), allowed('good')], [[1], [0, 1, 2]]);
    suspicion.completed('new');
    assert.equal(suspicion.suspects('new'), false);
    assert.equal(suspicion.suspects('newer'), true);
    assert.equal(suspicion.hasCalmed(), false);
    // The first trouble is too long ago now.
    clock.advance(1);
    assert.equal(suspicion.suspects('newer'), false);
    assert.deepEqual([suspicion.hasCalmed(), suspicion.hasCalmed()], [true, false]);
  });

  it('lasts as long as the trouble does', () => {
    const { clock, suspicion } = suspicionOf(2);
    for (let look = 0; look < 100; look++) {
      for (const id of ['one', 'two']) suspicion.trouble(id);
      assert.equal(suspicion.suspects('new'), true);
      clock.advance(25);
    }
    clock.advance(ALARM_MS);
    assert.equal(suspicion.suspects('new'), false);
  });

  it('remembers a bounded number of sessions that completed a run', () => {
    const { suspicion } = suspicionOf(2);
    for (let i = 0; i <= PROVEN_MAX_SESSIONS; i++) suspicion.completed(`session ${i}`);
    for (const id of ['one', 'two']) suspicion.trouble(id);
    assert.equal(suspicion.suspects('session 0'), true);
    assert.equal(suspicion.suspects('session 1'), false);
  });
});
