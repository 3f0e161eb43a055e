// The process that lag measures: a host with its HTTP server, and threads that spin when told to.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createHost } from '../../src/main/index.js';
import { createServer } from '../../src/main/server/http.js';
import { benchAgent } from '../support.js';

export interface LagOptions {
  dataDir: string;
  threads: number;
  niceIncrement: number;
  /** Sessions that only stand in the list, beside one for each thread. */
  sessions: number;
}

export type LagCommand = 'spin' | 'rest' | 'begin' | 'end';

export interface LagFigures {
  /** 99th percentile of how much later than due the main thread came to a timer. */
  delayP99Ms: number;
  /** Of the whole process. */
  cpuMs: number;
  running: number;
}

const RESOLUTION_MS = 1;

const { dataDir, threads, niceIncrement, sessions } = JSON.parse(process.argv[2]!) as LagOptions;
const host = await createHost({
  dataDir,
  threads,
  niceIncrement,
  agents: [benchAgent('worker'), benchAgent('light')],
  restoreSessions: 0,
  drainMs: 0,
  logLevel: 'error',
});
const spinners: string[] = [];
for (let i = 0; i < threads; i++) spinners.push(await host.create({ agentProfile: 'worker' }));
for (let i = threads; i < sessions; i++) await host.create({ agentProfile: 'light', name: `session ${i}` });
const server = createServer(host);
const url = await server.listen({ host: '127.0.0.1', port: 0 });
const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let cpuBefore = process.cpuUsage();

async function obey(command: LagCommand): Promise<LagFigures | null> {
  switch (command) {
    case 'spin':
      await Promise.all(spinners.map(spin));
      return null;
    case 'rest':
      for (const id of spinners) host.interrupt(id);
      while (host.registry.countByStatus('running') > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      return null;
    case 'begin':
      histogram.reset();
      histogram.enable();
      cpuBefore = process.cpuUsage();
      return null;
    case 'end': {
      histogram.disable();
      const cpu = process.cpuUsage(cpuBefore);
      return {
        delayP99Ms: Math.max(0, histogram.percentile(99) / 1e6 - RESOLUTION_MS),
        cpuMs: (cpu.user + cpu.system) / 1e3,
        running: host.registry.countByStatus('running'),
      };
    }
    default:
      return command satisfies never;
  }
}

async function spin(id: string): Promise<void> {
  for await (const event of host.send(id, { spin: 'checkpoint' }).events) if (event.type === 'event') return;
}

process.on('message', (command: LagCommand) => {
  obey(command).then(
    (answer) => process.send!({ answer }),
    (error: unknown) => process.send!({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send!({ url });
