// The platform's timers and clocks as they are before any agent module is loaded. What one agent puts in their place (fake
// timers, say) is its neighbours' as well, but not what the host lives by.

export const { setImmediate, setInterval, setTimeout, clearInterval, clearTimeout, queueMicrotask } = globalThis;

/** Milliseconds since 1970. */
export const unixMs: () => number = Date.now;

/** Milliseconds of a clock that never goes back. */
export const monotonicMs: () => number = performance.now.bind(performance);
