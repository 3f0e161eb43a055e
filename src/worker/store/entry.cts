// The file that Piscina loads in the store's thread. CommonJS, for the reason that ../entry.cts gives.

import type { StoreTask } from '../../protocol/control.js';

async function serve(task: StoreTask): Promise<void> {
  return (await import('./serve.js')).serve(task);
}

export = { serve };
