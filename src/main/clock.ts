// Time, as main sees it. Injected everywhere, so that in a test a day can pass in a millisecond.

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Calls back once after so many milliseconds. */
  after(ms: number, callback: () => void): Timer;
  /** Calls back again and again. Does not keep the process alive. */
  every(ms: number, callback: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return { cancel: () => clearTimeout(timer) };
  },
  every(ms, callback) {
    const timer = setInterval(callback, ms).unref();
    return { cancel: () => clearInterval(timer) };
  },
};

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
