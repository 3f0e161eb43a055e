// Puts a value where it is told to: into its output, its history, its events or its yields. Saved only when it leaves
// memory, so that what it appended is the tail of a restore after its thread has died.

import { defineAgent, type AgentContext } from '../../src/worker/agent.js';
import { UNREADABLE, depthOf, nested, type Unreadable } from '../support/values.js';

export type Place = 'output' | 'entry' | 'emit' | 'yield' | 'yieldAsync';

export interface ValuesInput {
  put?: Place;
  /** What to put there: something unreadable, or so many levels. */
  value?: Unreadable | number;
  /** Then the thread dies, with all that was appended on disk. */
  exit?: boolean;
  /** So many levels of this input are told in the answer. */
  deep?: unknown;
}

interface State {
  runs: number;
}

export interface ValuesAnswer extends State {
  /** Levels of what the tail of the restore held, the seq of each entry before them. */
  tail: [number, number][] | null;
  /** Levels of the params, and of this run's input. */
  params: number;
  input: number;
}

type Ctx = AgentContext<State>;

const tails = new Map<string, [number, number][]>();

function answer(ctx: Ctx, input: ValuesInput): ValuesAnswer {
  return {
    ...ctx.state,
    tail: tails.get(ctx.sessionId) ?? null,
    params: depthOf(ctx.params),
    input: depthOf(input.deep),
  };
}

function* yielding(ctx: Ctx, value: unknown): Generator<unknown, unknown, void> {
  try {
    yield value;
  } finally {
    ctx.history.append({ role: 'cleaned' });
  }
  return 'after the yield';
}

async function* yieldingAsync(ctx: Ctx, value: unknown): AsyncGenerator<unknown, unknown, void> {
  try {
    yield value;
  } finally {
    ctx.history.append({ role: 'cleaned' });
  }
  return 'after the yield';
}

async function die(ctx: Ctx): Promise<never> {
  await ctx.history.durable();
  process.exit(1);
}

export default defineAgent<State, ValuesInput>({
  profile: 'values',
  load: 'io',
  saveWhen: 'flush',
  start: () => ({ runs: 0 }),
  restore: (ctx, saved, tail) => {
    tails.set(
      ctx.sessionId,
      tail.map((entry) => [entry.seq, depthOf(entry['value'] ?? entry['content'])]),
    );
    return saved ?? { runs: 0 };
  },
  run(ctx, input): unknown {
    ctx.state.runs++;
    if (input.exit) return die(ctx);
    const { value = 0 } = input;
    const made = (around: number): unknown =>
      typeof value === 'number' ? nested(value - around) : UNREADABLE[value]();
    switch (input.put) {
      case undefined:
        return answer(ctx, input);
      case 'output':
        return made(0);
      case 'entry':
        // The entry is a level itself.
        return ctx.history.append({ value: made(1), role: 'value' });
      case 'emit':
        return ctx.emit(made(0));
      case 'yield':
        return yielding(ctx, made(0));
      case 'yieldAsync':
        return yieldingAsync(ctx, made(0));
      default:
        return input.put satisfies never;
    }
  },
});
