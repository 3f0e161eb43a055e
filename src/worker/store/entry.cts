// The file that Piscina loads in the store's thread. CommonJS, for the reason that ../entry.cts gives.

import type { StoreTask } from './serve.js';

async function serve(task: StoreTask): Promise<void> {
  const thread = await import('./serve.js');
  return thread.serve(task);
}

export = { serve };
