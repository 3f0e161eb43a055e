// Says in its history that it was started or restored; its params make that fail, or wait, for as long as a file is (not)
// there.

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineAgent, type AgentContext } from '../../src/worker/agent.js';

interface State {
  restores: number;
}

async function obey(ctx: AgentContext<State>): Promise<void> {
  const { failWhile, waitFor, failStart } = ctx.params as { failWhile?: string; waitFor?: string; failStart?: boolean };
  if (failStart) throw new Error('it never starts');
  if (failWhile !== undefined && existsSync(failWhile)) throw new Error('not today');
  while (waitFor !== undefined && !existsSync(waitFor)) await sleep(2);
}

export default defineAgent<State, { set?: number }, State>({
  profile: 'restorer',
  load: 'io',
  start: async (ctx) => {
    await obey(ctx);
    return { restores: 0 };
  },
  restore: async (ctx, saved) => {
    await obey(ctx);
    const restores = (saved?.restores ?? 0) + 1;
    ctx.history.append({ role: 'restored', restores });
    return { restores };
  },
  run: (ctx) => ctx.state,
});
