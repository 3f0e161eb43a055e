// One run from its first instruction to its outcome: plain functions, async functions and generators alike.

import { decodeEntry, encodeValue } from '../protocol/codec.js';
import { CabanaError, isA, toWire } from '../protocol/errors.js';
import { INTERRUPT_REASONS } from '../protocol/interrupt.js';
import type { RunEnd } from '../protocol/journal.js';
import type { AgentDefinition } from './agent.js';
import type { Context } from './context.js';
import type { RunInterrupt } from './interrupt.js';

export type Outcome = Pick<RunEnd, 'state' | 'output' | 'error' | 'code'>;

/** Executes the run; never throws: whatever the agent's code does becomes an outcome. */
export async function execute(
  definition: AgentDefinition,
  ctx: Context,
  input: Uint8Array,
  interrupt: RunInterrupt,
): Promise<Outcome> {
  try {
    interrupt.check();
    // Awaited before it is looked at: an async function may give a generator, too, which nobody else would drive.
    const result: unknown = await definition.run(ctx, decodeEntry(input).content);
    const output = isGenerator(result) ? await drive(result, ctx, interrupt) : result;
    const bytes = output === undefined ? null : encodeValue(output, 'output');
    return { state: 'completed', output: bytes, error: null, code: null };
  } catch (error) {
    return outcomeOfThrow(error, interrupt);
  }
}

type AnyGenerator = Generator<unknown, unknown, void> | AsyncGenerator<unknown, unknown, void>;

/** Each yield is an event to subscribers and a place where the thread may be given up and the run be stopped. */
async function drive(generator: AnyGenerator, ctx: Context, interrupt: RunInterrupt): Promise<unknown> {
  let step = await generator.next();
  while (!step.done) {
    try {
      if (step.value !== undefined) {
        const room = ctx.room();
        if (room) await room;
        ctx.emit(step.value);
      }
      await ctx.yield();
      interrupt.check();
    } catch (error) {
      // Into the generator, so that its finally blocks run.
      step = await generator.throw(error);
      continue;
    }
    step = await generator.next();
  }
  return step.value;
}

/** What a throw makes of a run: interrupted if it was asked to stop and did, failed otherwise. */
export function outcomeOfThrow(error: unknown, interrupt: RunInterrupt): Outcome {
  // As another thread would get it: what an agent throws may itself throw when it is read.
  const { code, name, message } = toWire(error, 0);
  // By its name: a bundled agent brings a class of its own. What the platform's own functions throw when a signal stops
  // them is an AbortError.
  if (interrupt.requested && (name === 'AgentInterrupted' || name === 'AbortError')) {
    const reason = INTERRUPT_REASONS[interrupt.reason];
    return { state: 'interrupted', output: null, error: reason.message, code: reason.code };
  }
  return { state: 'failed', output: null, error: message, code: (isA(error, CabanaError) && code) || 'AGENT_ERROR' };
}

function isGenerator(value: unknown): value is AnyGenerator {
  if (typeof value !== 'object' || value === null) return false;
  const maybe = value as { next?: unknown; throw?: unknown };
  if (typeof maybe.next !== 'function' || typeof maybe.throw !== 'function') return false;
  return Symbol.asyncIterator in value || Symbol.iterator in value;
}
