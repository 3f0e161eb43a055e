// The process that lag measures: a host with its HTTP server, and threads that spin when told to.

import { cpus } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createHost, type RunHandle } from '../../src/main/index.js';
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
  /** Milliseconds of all delays together, from one turn of the event loop to the next: the time that was watched. */
  watchedMs: number;
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
/** The runs that spin now. */
let spinning: RunHandle[] = [];

async function obey(command: LagCommand): Promise<LagAnswers[LagCommand]> {
  switch (command) {
    case 'spin':
      before = soFar();
      spinning = spinners.map((id) => host.send(id, { spin: 'checkpoint' }));
      await Promise.all(spinning.map(begun));
      return null;
    case 'rest': {
      for (const id of spinners) host.interrupt(id);
      await Promise.all(spinning.map(stopped));
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
        watchedMs: histogram.count > 0 ? (histogram.count * histogram.mean) / 1e6 : 0,
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

async function begun({ events }: RunHandle): Promise<void> {
  for await (const event of events) if (event.type === 'event') return;
}

/** @throws Error if the run ended otherwise than by its interrupt: then it did not spin to the end of the window */
async function stopped({ result }: RunHandle): Promise<void> {
  const { state, code } = await result;
  if (code !== 'RUN_INTERRUPTED') throw new Error(`a run that was to spin until its interrupt ended ${state}, ${code}`);
}

process.on('message', (command: LagCommand) => {
  obey(command).then(
    (answer) => process.send!({ answer }),
    (error: unknown) => process.send!({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send!({ url });
