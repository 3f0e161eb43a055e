// One context method, or one shape of run, per input.

import { setTimeout as sleep } from 'node:timers/promises';
import { AgentInterrupted, defineAgent, type AgentContext } from '../../src/worker/agent.js';

export type ToolboxInput =
  | { do: 'plain' | 'async' | 'generator' | 'asyncGenerator' | 'laterGenerator' }
  | { do: 'echo'; value?: unknown }
  | { do: 'symbol' | 'cycle' | 'huge' }
  | { do: 'emit'; events: unknown[] }
  | { do: 'progress'; fraction: number; label?: string }
  | { do: 'report'; figures: Record<string, unknown> }
  | { do: 'rename'; name: string }
  | { do: 'append'; count: number }
  | { do: 'read'; from?: number; limit?: number }
  | { do: 'reread'; rounds: number }
  | { do: 'badEntry' }
  | { do: 'sleep' }
  | { do: 'cleanUp' };

type Ctx = AgentContext<Record<string, never>>;

function* steps(): Generator<unknown, unknown, void> {
  yield { step: 1 };
  yield { step: 2 };
  return 'generated';
}

async function* asyncSteps(): AsyncGenerator<unknown, unknown, void> {
  await sleep(1);
  yield { step: 1 };
  yield { step: 2 };
  return 'generated asynchronously';
}

/** Never ends by itself; says in the history that it could clean up. */
function* untilStopped(ctx: Ctx): Generator<unknown, unknown, void> {
  try {
    for (;;) yield {};
  } finally {
    ctx.history.append({ role: 'cleaned' });
  }
}

async function append(ctx: Ctx, count: number): Promise<unknown> {
  const before = ctx.history.length;
  for (let i = 0; i < count; i++) await ctx.history.append({ role: 'note', i });
  const after = ctx.history.length;
  await ctx.history.durable();
  return { before, after, durableSeq: ctx.history.durableSeq };
}

async function read(ctx: Ctx, options: { from?: number; limit?: number }): Promise<unknown> {
  const found: unknown[] = [];
  const { from, limit } = options;
  const bounds = { ...(from === undefined ? {} : { from }), ...(limit === undefined ? {} : { limit }) };
  for await (const entry of ctx.history.entries(bounds)) found.push([entry.seq, entry.role]);
  return found;
}

/** Reads the end of the history so often, and on until as many entries have come. @returns how often */
async function reread(ctx: Ctx, least: number): Promise<number> {
  let rounds = 0;
  for (const last = ctx.history.durableSeq + least; rounds < least || ctx.history.durableSeq < last; rounds++) {
    for await (const entry of ctx.history.entries({ from: ctx.history.durableSeq })) if (entry.seq < 1) break;
  }
  return rounds;
}

export default defineAgent<Record<string, never>, ToolboxInput>({
  profile: 'toolbox',
  load: 'io',
  run(ctx, input): unknown {
    switch (input.do) {
      case 'plain':
        return 'plain';
      case 'async':
        return sleep(1, 'awaited');
      case 'generator':
        return steps();
      case 'asyncGenerator':
        return asyncSteps();
      case 'laterGenerator':
        return sleep(1).then(steps);
      case 'echo':
        return { value: input.value, type: typeof input.value };
      case 'symbol':
        return { a: Symbol('no bytes for this') };
      case 'cycle': {
        const cycle: Record<string, unknown> = {};
        cycle['self'] = cycle;
        return cycle;
      }
      case 'huge':
        return new Uint8Array(17 * 1024 * 1024);
      case 'emit':
        for (const event of input.events) ctx.emit(event);
        return input.events.length;
      case 'progress':
        ctx.progress(input.fraction, input.label);
        return sleep(1_000_000, undefined, { signal: ctx.signal });
      case 'report':
        return ctx.report(input.figures);
      case 'rename':
        return ctx.rename(input.name);
      case 'append':
        return append(ctx, input.count);
      case 'read':
        return read(ctx, input);
      case 'reread':
        return reread(ctx, input.rounds);
      case 'badEntry':
        return ctx.history.append([] as never);
      case 'sleep':
        return sleep(1_000_000, undefined, { signal: ctx.signal }).catch((error: unknown) => {
          throw ctx.signal.reason instanceof AgentInterrupted ? ctx.signal.reason : error;
        });
      case 'cleanUp':
        return untilStopped(ctx);
      default:
        return input satisfies never;
    }
  },
});
