// Time, as main sees it. Injected everywhere, so that in a test a day can pass in a millisecond.

import { WATCHDOG_MAX_GAP_MS } from '../protocol/limits.js';

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Unix milliseconds, for what is written down. The system's clock may be set, forward or back. */
  now(): number;
  /** Milliseconds that only grow, for durations. Default: now(). */
  monotonic?(): number;
  /** Calls back once after so many milliseconds. */
  after(ms: number, callback: () => void): Timer;
  /** Calls back again and again. Does not keep the process alive. */
  every(ms: number, callback: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return { cancel: () => clearTimeout(timer) };
  },
  every(ms, callback) {
    const timer = setInterval(callback, ms).unref();
    return { cancel: () => clearInterval(timer) };
  },
};

/** What durations are measured by. */
export function monotonic(clock: Clock): number {
  return clock.monotonic?.() ?? clock.now();
}

/**
 * Time in which this process could do something, in milliseconds: a stop of the whole process, or of the machine (a
 * suspended laptop, a paused container), does not count. Threads that stood still with everything else do not hang.
 */
export class LiveTime {
  readonly #maxGapMs: number;
  readonly #instant: () => number;
  #lostMs = 0;
  #askedAt: number;

  /**
   * @param maxGapMs so much between two calls of now() is a busy main thread; what is beyond it is a stop
   * @param instant a monotonic clock, in milliseconds
   */
  constructor(maxGapMs: number, instant = () => performance.now()) {
    this.#maxGapMs = maxGapMs;
    this.#instant = instant;
    this.#askedAt = instant();
  }

  /** Asked again and again. Whoever asks first after a stop takes it off, so that no instant is ahead of the next one. */
  now(): number {
    const now = this.#instant();
    this.#lostMs += Math.max(0, now - this.#askedAt - this.#maxGapMs);
    this.#askedAt = now;
    return now - this.#lostMs;
  }
}

/** Of this process, whatever clock its hosts were given: threads live in real time. The watchdogs ask. */
export const liveTime = new LiveTime(WATCHDOG_MAX_GAP_MS);

/** What within() resolves with when the time is up. */
export const LATE = Symbol('late');

/** The work's result; LATE, if that takes longer than so many milliseconds of the clock. Late work goes on, unheard. */
export async function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T | typeof LATE> {
  const deadline = delay(clock, ms);
  try {
    return await Promise.race([work, deadline.elapsed.then((): typeof LATE => LATE)]);
  } finally {
    deadline.stop();
  }
}

/** Resolves after so many milliseconds of the clock; `stop` ends the wait early. */
export function delay(clock: Clock, ms: number): { elapsed: Promise<void>; stop: () => void } {
  let stop = (): void => undefined;
  const elapsed = new Promise<void>((resolve) => {
    const timer = clock.after(ms, resolve);
    stop = () => {
      timer.cancel();
      resolve();
    };
  });
  return { elapsed, stop };
}
