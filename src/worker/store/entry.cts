// The file that Piscina loads in the store's thread. CommonJS, for the reason that ../entry.cts gives.

import type { StoreTask } from './serve.js';

// Begun before the task comes: at the host's start that takes until main, which loads modules itself, has time for it.
const loading = import('./serve.js');
// A failure is the task's, which awaits it; this keeps it from being an unhandled rejection before that.
loading.catch(() => undefined);

async function serve(task: StoreTask): Promise<void> {
  return (await loading).serve(task);
}

export = { serve };
