// Tells main more than main can take: events, figures or log lines as fast as it can, and in the end keeps its thread.

import { existsSync } from 'node:fs';
import { defineAgent, type AgentContext } from '../../src/worker/agent.js';

export interface Flood {
  how: 'emit' | 'yield' | 'report' | 'log';
  count: number;
  /** Then: hold the thread until this file is there. */
  until?: string;
}

const SPIN_MAX_MS = 60_000;

function* yields(count: number): Generator<unknown, unknown, void> {
  for (let i = 0; i < count; i++) yield { i };
  return count;
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
  run(ctx, { how, count, until }): unknown {
    if (how === 'yield') return yields(count);
    if (how !== 'emit') ctx.emit('begun');
    for (let i = 0; i < count; i++) {
      tell(ctx, how, i);
      ctx.checkpoint();
    }
    const startedAt = performance.now();
    while (until !== undefined && !existsSync(until) && performance.now() - startedAt < SPIN_MAX_MS) ctx.checkpoint();
    return count;
  },
});
