// What a spare thread executes before it is needed: it loads all that an agent thread executes. CommonJS like entry.cts,
// and for its reason.

interface PrepareTask {
  /** File paths of the agent modules. */
  agents: string[];
  niceIncrement: number;
}

async function prepare({ agents, niceIncrement }: PrepareTask): Promise<void> {
  const { stepBack } = await import('./priority.js');
  // Before the rest is loaded: the agents of other threads are at work.
  stepBack(niceIncrement);
  const [{ loadAgentModules }] = await Promise.all([import('./modules.js'), import('./serve.js')]);
  await loadAgentModules(agents);
}

export = { prepare };
