// What a thread that is to replace another executes first: it loads all that an agent thread executes. CommonJS like
// entry.cts, and for its reason.

import type { PrepareTask } from '../protocol/control.js';

/** Rejects only if the thread dies. */
async function prepare({ agents, nice }: PrepareTask): Promise<void> {
  const { stepBack } = await import('./priority.js');
  // Before the rest is loaded: the agents of other threads are at work.
  stepBack(nice);
  const [{ loadAgentModules }] = await Promise.all([import('./modules.js'), import('./serve.js')]);
  // hello() loads them as well, and tells what is wrong with them.
  await loadAgentModules(agents).catch(() => undefined);
}

export = { prepare };
