// The benchmarks' agent that emits: a burst as fast as it can, in portions between which its thread's event loop turns.

import { defineAgent } from '../../src/worker/agent.js';

/** What each is beside its number. */
export const EVENT = { type: 'delta', text: 'and so on' } as const;

export interface EmitInput {
  events: number;
  /** Events between two turns of the event loop. */
  portion: number;
  /** Milliseconds to wait after each portion; 0: only a turn. */
  pauseMs: number;
}

export default defineAgent<object, EmitInput>({
  profile: 'emitter',
  start: () => ({}),
  async run(ctx, { events, portion, pauseMs }) {
    for (let i = 0; i < events; i++) {
      if (i > 0 && i % portion === 0) await turn(pauseMs);
      ctx.emit({ i, type: EVENT.type, text: EVENT.text });
    }
    return { events };
  },
});

function turn(ms: number): Promise<void> {
  return new Promise((resolve) => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve)));
}
