// The process that flush ends: a host whose agents all have a state that is nowhere but in memory.

import { createHost } from '../../src/main/index.js';
import { benchAgent, each } from '../support.js';

export interface FlushOptions {
  dataDir: string;
  agents: number;
  stateBytes: number;
}

const { dataDir, agents, stateBytes } = JSON.parse(process.argv[2]!) as FlushOptions;
const host = await createHost({
  dataDir,
  agents: [benchAgent('keeper')],
  threads: 2,
  maxIdleAgents: 1_000_000,
  maxRunningAgents: 10_000,
  restoreSessions: 0,
  flushDeadlineMs: 120_000,
  logLevel: 'error',
});

process.on('SIGTERM', () => {
  host.close().then(
    ({ live, flushed, storageFailed }) => process.exit(live === agents && flushed === agents && !storageFailed ? 0 : 3),
    () => process.exit(1),
  );
});

const ids = Array.from({ length: agents }, (_, k) => `flush-${k}`);
await each(ids, 256, async (sessionId) => {
  await host.create({ sessionId, agentProfile: 'keeper' });
  const run = await host.send(sessionId, { fill: stateBytes }).result;
  if (run.state !== 'completed') throw new Error(`a run ended ${run.state}: ${run.error}`);
});
process.send!('ready');
