// Appends entries as fast as it can: in one go, or waiting for room; and tells how far it came.

import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { defineAgent } from '../../src/worker/agent.js';

interface Input {
  entries: number;
  bytes: number;
  awaits: boolean;
  /** Not before this file is there; another one beside it, with .refused behind its name, tells of a refusal. */
  from?: string;
}

interface Output {
  appended: number;
  code: string | null;
}

export default defineAgent<object, Input, Output>({
  profile: 'supervision-writer',
  async run(ctx, { entries, bytes, awaits, from }) {
    while (from !== undefined && !existsSync(from)) await pause(2, undefined, { signal: ctx.signal });
    const text = 'x'.repeat(bytes);
    for (let appended = 0; appended < entries; appended++) {
      try {
        const room = ctx.history.append({ role: 'note', text });
        if (awaits) await room;
      } catch (error) {
        const code = String((error as { code?: unknown }).code);
        if (from !== undefined) writeFileSync(`${from}.refused`, code);
        return { appended, code };
      }
    }
    return { appended: entries, code: null };
  },
});
