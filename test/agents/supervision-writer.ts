// Appends entries as fast as it can: in one go, or waiting for room; and tells how far it came.

import { defineAgent } from '../../src/worker/agent.js';

interface Input {
  entries: number;
  bytes: number;
  awaits: boolean;
}

interface Output {
  appended: number;
  code: string | null;
}

export default defineAgent<object, Input, Output>({
  profile: 'supervision-writer',
  async run(ctx, { entries, bytes, awaits }) {
    const text = 'x'.repeat(bytes);
    for (let appended = 0; appended < entries; appended++) {
      try {
        const room = ctx.history.append({ role: 'note', text });
        if (awaits) await room;
      } catch (error) {
        return { appended, code: String((error as { code?: unknown }).code) };
      }
    }
    return { appended: entries, code: null };
  },
});
