// Appends entries of the sizes that it is told; tells what it reads of its history, and what it was restored from.

import { defineAgent, type AgentContext } from '../../src/worker/agent.js';

export interface BulkyInput {
  /** Characters of each entry to append. */
  append?: number[];
  /** What to read of the history. */
  read?: { from?: number; limit?: number };
  /** Then the thread dies. */
  exit?: boolean;
}

/** Of each entry its seq, and how many characters its text has. */
export type Sizes = [number, number][];

export interface BulkyAnswer {
  read: Sizes;
  tail: Sizes | null;
}

const tails = new Map<string, Sizes>();

const sizeOf = (entry: Record<string, unknown>): number => ((entry['text'] as string | undefined) ?? '').length;

async function read(ctx: AgentContext<unknown>, bounds: { from?: number; limit?: number }): Promise<Sizes> {
  const sizes: Sizes = [];
  for await (const entry of ctx.history.entries(bounds)) sizes.push([entry.seq, sizeOf(entry)]);
  return sizes;
}

export default defineAgent<Record<string, never>, BulkyInput, BulkyAnswer>({
  profile: 'bulky',
  load: 'io',
  saveWhen: 'flush',
  restore: (ctx, _saved, tail) => {
    tails.set(
      ctx.sessionId,
      tail.map((entry) => [entry.seq, sizeOf(entry)]),
    );
    return {};
  },
  async run(ctx, input) {
    for (const chars of input.append ?? []) await ctx.history.append({ role: 'bulk', text: 'x'.repeat(chars) });
    await ctx.history.durable();
    if (input.exit) process.exit(1);
    const sizes = input.read ? await read(ctx, input.read) : [];
    return { read: sizes, tail: tails.get(ctx.sessionId) ?? null };
  },
});
