// Who is suspected of taking threads down, for how long, and which threads that leaves.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isForSuspects } from '../../src/main/pool/placement.js';
import { Suspicion } from '../../src/main/pool/suspicion.js';
import { ALARM_MS, PROVEN_MAX_SESSIONS, QUARANTINE_WINDOW_MS, WARY_MS } from '../../src/protocol/limits.js';
import { VirtualClock } from '../support/clock.js';

const theirs = { forSuspects: true };
const others = { forSuspects: false };

function suspicionNow() {
  const clock = new VirtualClock();
  return { clock, suspicion: new Suspicion(clock) };
}

describe('suspicion', () => {
  it('leaves suspects the last half of the threads, the smaller one; one thread is for everybody, its stand-in too', () => {
    const left = [1, 2, 3, 4, 7].map((threads) =>
      Array.from({ length: threads + 1 }, (_, no) => no).filter((no) => isForSuspects(no, threads)),
    );
    assert.deepEqual(left, [[0, 1], [1], [2], [2, 3], [4, 5, 6]]);
  });

  it('is nobody’s business until a thread was in trouble', () => {
    const { suspicion } = suspicionNow();
    assert.equal(suspicion.suspects('new'), false);
    assert.deepEqual([suspicion.suits('new', theirs), suspicion.suits('new', others)], [true, true]);
  });

  it('falls on who took a thread down until a run of it completes, and for ten minutes at most', () => {
    const { clock, suspicion } = suspicionNow();
    suspicion.struck('bad');
    assert.deepEqual([suspicion.suspects('bad'), suspicion.suspects('new')], [true, false]);
    suspicion.completed('bad');
    assert.equal(suspicion.suspects('bad'), false);
    suspicion.struck('bad');
    suspicion.forget('bad');
    assert.equal(suspicion.suspects('bad'), false);
    suspicion.struck('bad');
    clock.advance(QUARANTINE_WINDOW_MS - 1);
    assert.equal(suspicion.suspects('bad'), true);
    clock.advance(1);
    assert.equal(suspicion.suspects('bad'), false);
  });

  it('keeps the others off their threads for a while', () => {
    const { clock, suspicion } = suspicionNow();
    suspicion.struck('bad');
    assert.deepEqual([suspicion.suits('bad', theirs), suspicion.suits('bad', others)], [true, false]);
    assert.deepEqual([suspicion.suits('new', theirs), suspicion.suits('new', others)], [false, true]);
    clock.advance(WARY_MS);
    assert.deepEqual([suspicion.suits('new', theirs), suspicion.suits('new', others)], [true, true]);
  });

  it('falls on everybody who has not completed a run, when several sessions are in trouble', () => {
    const { clock, suspicion } = suspicionNow();
    suspicion.completed('good');
    suspicion.trouble('one');
    suspicion.trouble('one');
    assert.equal(suspicion.suspects('new'), false, 'one session is no alarm, however often');
    clock.advance(ALARM_MS - 1);
    suspicion.trouble('two');
    assert.deepEqual([suspicion.suspects('new'), suspicion.suspects('good')], [true, false]);
    suspicion.completed('new');
    assert.deepEqual([suspicion.suspects('new'), suspicion.suspects('newer')], [false, true]);
    // The first trouble is too long ago now.
    clock.advance(1);
    assert.equal(suspicion.suspects('newer'), false);
  });

  it('lasts as long as the trouble does', () => {
    const { clock, suspicion } = suspicionNow();
    for (let look = 0; look < 100; look++) {
      for (const id of ['one', 'two']) suspicion.trouble(id);
      assert.equal(suspicion.suspects('new'), true);
      clock.advance(25);
    }
    clock.advance(ALARM_MS);
    assert.equal(suspicion.suspects('new'), false);
  });

  it('tells once that somebody who may have waited for it need not any more', () => {
    const { clock, suspicion } = suspicionNow();
    const eased = (): boolean[] => [suspicion.takeEasing(), suspicion.takeEasing()];
    suspicion.completed('good');
    assert.deepEqual(eased(), [false, false]);
    suspicion.struck('bad');
    assert.deepEqual(eased(), [false, false]);
    suspicion.completed('bad');
    assert.deepEqual(eased(), [true, false]);
    for (const id of ['one', 'two']) suspicion.trouble(id);
    assert.deepEqual(eased(), [false, false]);
    clock.advance(ALARM_MS);
    assert.deepEqual(eased(), [true, false]);
  });

  it('remembers a bounded number of sessions that completed a run', () => {
    const { suspicion } = suspicionNow();
    for (let i = 0; i <= PROVEN_MAX_SESSIONS; i++) suspicion.completed(`session ${i}`);
    for (const id of ['one', 'two']) suspicion.trouble(id);
    assert.equal(suspicion.suspects('session 0'), true);
    assert.equal(suspicion.suspects('session 1'), false);
  });
});
