// The file that Piscina loads in an agent thread. CommonJS, because Piscina requires it: requiring an ES module ties up
// the thread's loader, and a thread that is terminated in the midst of that takes the whole process down (Node 20).

import type { AgentThreadTask } from './serve.js';

// Begun before the task comes: at the host's start that takes until main, which loads modules itself, has time for it.
const loading = import('./serve.js');
// A failure is the task's, which awaits it; this keeps it from being an unhandled rejection before that.
loading.catch(() => undefined);

async function serve(task: AgentThreadTask): Promise<void> {
  return (await loading).serve(task);
}

export = { serve };
