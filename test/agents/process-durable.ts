// Tells the world about an entry only when it is on disk: a line in a file, `<session> <i>`, after durable().

import { appendFileSync } from 'node:fs';
import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent<{ told: number }, { entries: number }, { told: number }>({
  profile: 'process-durable',
  load: 'io',
  start: () => ({ told: 0 }),
  restore(_ctx, saved, tail) {
    const state = saved ?? { told: 0 };
    for (const entry of tail) if (entry.role === 'told') state.told = entry['i'] as number;
    return state;
  },
  async run(ctx, input) {
    for (let k = 0; k < input.entries; k++) {
      ctx.checkpoint();
      const i = ++ctx.state.told;
      ctx.history.append({ role: 'told', i });
      await ctx.history.durable();
      appendFileSync(ctx.params['file'] as string, `${ctx.sessionId} ${i}\n`);
    }
    return { told: ctx.state.told };
  },
});
