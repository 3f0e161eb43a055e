// Tells main more than main can take: events, figures or log lines as fast as it can, and in the end keeps its thread.

import { existsSync, writeFileSync } from 'node:fs';
import { defineAgent, type AgentContext } from '../../src/worker/agent.js';

export interface Flood {
  how: 'emit' | 'yield' | 'report' | 'log';
  count: number;
  /** Make this file when so many are told. */
  mark?: { path: string; at: number };
  /** Then: hold the thread until this file is there. */
  until?: string;
}

const SPIN_MAX_MS = 60_000;

function* yields({ count, mark }: Flood): Generator<unknown, unknown, void> {
  for (let i = 0; i < count; i++) {
    yield { i };
    marked(i, mark);
  }
  return count;
}

function marked(i: number, mark: Flood['mark']): void {
  if (mark !== undefined && i + 1 === mark.at) writeFileSync(mark.path, '');
}

function tell(ctx: AgentContext<object>, how: Flood['how'], i: number): void {
  if (how === 'emit') ctx.emit({ i });
  if (how === 'log') ctx.log.warn('one of many', { i });
  if (how !== 'report') return;
  ctx.report({ costUsd: 1, ...(i % 2 === 0 ? { model: `model ${i}` } : { modelId: `id ${i}` }) });
  ctx.rename(`name ${i}`);
}

export default defineAgent<object, Flood>({
  profile: 'supervision-flood',
  run(ctx, input): unknown {
    const { how, count, mark, until } = input;
    if (how === 'yield') return yields(input);
    if (how !== 'emit') ctx.emit('begun');
    for (let i = 0; i < count; i++) {
      tell(ctx, how, i);
      marked(i, mark);
      ctx.checkpoint();
    }
    const startedAt = performance.now();
    while (until !== undefined && !existsSync(until) && performance.now() - startedAt < SPIN_MAX_MS) ctx.checkpoint();
    return count;
  },
});
