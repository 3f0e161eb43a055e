// The file that Piscina loads in an agent thread. CommonJS, because Piscina requires it: requiring an ES module ties up
// the thread's loader, and a thread that is terminated during that takes the whole process down (Node 20).

import type { AgentThreadTask } from '../protocol/control.js';

async function serve(task: AgentThreadTask): Promise<void> {
  return (await import('./serve.js')).serve(task);
}

export = { serve };
