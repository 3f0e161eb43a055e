// The process that lag measures: a host with its HTTP server, and threads that spin when told to.

import { cpus } from 'node:os';
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

export interface LagFigures {
  /** 99th percentile of the main thread's event-loop delay. */
  delayP99Ms: number;
  running: number;
}

/** What the machine gave to those that spun, from 'spin' to 'rest'. */
export interface SpinFigures {
  /** CPU milliseconds of each run that spun. */
  cpuMs: number[];
  /** CPU milliseconds that nobody wanted. */
  idleMs: number;
}

export type LagAnswers = { spin: null; rest: SpinFigures; begin: null; end: LagFigures };
export type LagCommand = keyof LagAnswers;

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
let before: SpinFigures = { cpuMs: [], idleMs: 0 };

async function obey(command: LagCommand): Promise<LagAnswers[LagCommand]> {
  switch (command) {
    case 'spin':
      before = soFar();
      await Promise.all(spinners.map(spin));
      return null;
    case 'rest': {
      for (const id of spinners) host.interrupt(id);
      while (host.registry.countByStatus('running') > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const after = soFar();
      return { cpuMs: after.cpuMs.map((ms, i) => ms - before.cpuMs[i]!), idleMs: after.idleMs - before.idleMs };
    }
    case 'begin':
      histogram.reset();
      histogram.enable();
      return null;
    case 'end':
      histogram.disable();
      return {
        delayP99Ms: Math.max(0, histogram.percentile(99) / 1e6 - RESOLUTION_MS),
        running: host.registry.countByStatus('running'),
      };
    default:
      return command satisfies never;
  }
}

function soFar(): SpinFigures {
  return {
    cpuMs: spinners.map((id) => host.registry.sessionSummary(id)!.cpuMs),
    idleMs: cpus().reduce((sum, { times }) => sum + times.idle, 0),
  };
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
