// The benchmarks' agent that appends entries and waits for the disk after each, as many sessions at a time as there are.

import { setTimeout as sleep } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { defineAgent } from '../../src/worker/agent.js';

export interface AppendInput {
  entries: number;
  bytes: number;
  /** Epoch milliseconds at which all sessions begin together. */
  startAt: number;
}

export interface Appended {
  /** Epoch milliseconds of the last acknowledgement. */
  endAt: number;
  /** Milliseconds from each append() to its durable(). */
  ackMs: number[];
  thread: number;
  /** Acknowledgements that came to this thread together count as one; since the thread's start. */
  groups: number;
}

let groups = 0;
let inGroup = false;

/** Counts a group of acknowledgements once: all that resolve before the event loop comes to its check phase. */
function acknowledged(): void {
  if (inGroup) return;
  inGroup = true;
  groups++;
  setImmediate(() => (inGroup = false));
}

export function epochNow(): number {
  return performance.timeOrigin + performance.now();
}

export default defineAgent<object, AppendInput>({
  profile: 'appender',
  load: 'io',
  saveWhen: 'flush',
  start: () => ({}),
  async run(ctx, input): Promise<Appended> {
    const content = 'x'.repeat(input.bytes);
    const ackMs: number[] = [];
    await sleep(Math.max(0, input.startAt - epochNow()));
    for (let i = 0; i < input.entries; i++) {
      const start = performance.now();
      await ctx.history.append({ role: 'assistant', content, i });
      await ctx.history.durable();
      ackMs.push(performance.now() - start);
      acknowledged();
    }
    return { endAt: epochNow(), ackMs, thread: threadId, groups };
  },
});
