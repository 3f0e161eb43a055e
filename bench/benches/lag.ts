// lag: what the main thread and an HTTP client feel of agents that spin on every core.

import { fork, type ChildProcess } from 'node:child_process';
import { Agent, get } from 'node:http';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { quantile, type Bench, type BenchRun, type Result } from '../harness.js';
import { owned, tempDir } from '../support.js';
import type { LagAnswers, LagCommand, LagOptions, SpinFigures } from './lag-host.js';

const CORES = availableParallelism();
const SESSIONS = 100;
/** With more threads a core, those without nice are left out: it takes long, and says the same. */
const COMPARED_PER_CORE = 2;
/** Between one answer and the next request. */
const PAUSE_MS = 2;
/** Threads that had less than this of what was left of the machine were not all spinning. */
const LEAST_CPU_SHARE = 0.6;
/** Nor was one that had less than this of what each had in the mean. */
const LEAST_OF_MEAN = 0.2;

const HOST = fileURLToPath(new URL('./lag-host.js', import.meta.url));

interface Felt {
  delayMs: number;
  httpMs: number;
}

export const lag: Bench = {
  name: 'lag',
  question: 'What do the main thread and an HTTP client feel of agents that spin on every core?',
  async run(b) {
    const points: { x: number; spinning: number; limit: number }[] = [];
    for (const perCore of b.smoke ? [1] : [1, 2, 4]) {
      const { value, baseline } = await felt(b, perCore);
      points.push({ x: CORES * perCore, spinning: value, limit: baseline! });
    }
    b.curve({
      metric: "main thread's event-loop delay p99",
      xUnit: `threads that spin, on ${CORES} cores`,
      unit: 'ms',
      series: [
        { name: 'while they spin', points: points.map(({ x, spinning }) => ({ x, y: spinning })) },
        { name: 'the limit: 2 x an idle host + 1 ms', points: points.map(({ x, limit }) => ({ x, y: limit })) },
      ],
    });
  },
};

/** @returns the event-loop delay, against its limit */
async function felt(b: BenchRun, perCore: number): Promise<Result> {
  const threads = CORES * perCore;
  const nice = await LagHost.start(b, threads, 19);
  const busy = `${threads} threads spin on ${CORES} cores`;

  const metrics = {
    delay: `main thread's event-loop delay p99, ${busy}`,
    http: `GET /api/sessions (${SESSIONS} rows) p99, ${busy}`,
  };
  // Both figures come from the same second.
  const besideIdle = await b.alternate(
    `${busy}, against an idle host`,
    () => nice.felt({ spinning: true }),
    () => nice.felt({ spinning: false }),
  );
  const delay = b.record(
    {
      metric: metrics.delay,
      unit: 'ms',
      baseline: 'the limit: 2 x an idle host + 1 ms',
      target: { of: 'ratio', is: 'at most', limit: 1 },
      least: 0,
    },
    besideIdle.map(({ ours, theirs }) => ({ value: ours.delayMs, baseline: 2 * theirs.delayMs + 1 })),
  );
  b.record(
    { metric: metrics.http, unit: 'ms', baseline: 'an idle host', target: { of: 'ratio', is: 'at most', limit: 3 } },
    besideIdle.map(({ ours, theirs }) => ({ value: ours.httpMs, baseline: theirs.httpMs })),
  );

  if (b.smoke || perCore > COMPARED_PER_CORE) return delay;
  const plain = await LagHost.start(b, threads, 0);
  const besidePlain = await b.alternate(
    `${busy}, against threads without nice`,
    () => nice.felt({ spinning: true }),
    () => plain.felt({ spinning: true }),
  );
  const baseline = 'threads without nice';
  b.record(
    { metric: metrics.delay, unit: 'ms', baseline, least: 0 },
    besidePlain.map(({ ours, theirs }) => ({ value: ours.delayMs, baseline: theirs.delayMs })),
  );
  b.record(
    { metric: metrics.http, unit: 'ms', baseline },
    besidePlain.map(({ ours, theirs }) => ({ value: ours.httpMs, baseline: theirs.httpMs })),
  );
  return delay;
}

class LagHost {
  readonly #b: BenchRun;
  readonly #child: ChildProcess;
  readonly #url: string;
  readonly #threads: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  private constructor(b: BenchRun, child: ChildProcess, url: string, threads: number) {
    this.#b = b;
    this.#child = child;
    this.#url = url;
    this.#threads = threads;
  }

  static async start(b: BenchRun, threads: number, niceIncrement: number): Promise<LagHost> {
    const options: LagOptions = { dataDir: tempDir(b), threads, niceIncrement, sessions: SESSIONS };
    const child = owned(fork(HOST, [JSON.stringify(options)], { execArgv: [] }));
    b.after(async () => {
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await exited;
    });
    const { url } = await new Promise<{ url: string }>((resolve, reject) => {
      child.once('message', (message) => resolve(message as { url: string }));
      child.once('exit', (code) => reject(new Error(`the host of lag ended with ${code}`)));
    });
    return new LagHost(b, child, url, threads);
  }

  /** What is felt for a while: with every thread spinning, or none. */
  async felt({ spinning }: { spinning: boolean }): Promise<Felt> {
    const windowMs = this.#b.size(800, 80);
    if (spinning) await this.#tell('spin');
    await sleep(this.#b.size(100, 10));
    await this.#tell('begin');
    const httpMs = await this.#requests(windowMs);
    const figures = await this.#tell('end');
    if (spinning) this.#checkSpin(await this.#tell('rest'));
    const { watchedMs } = figures;
    this.#b.check(watchedMs > 0, 'the delay was measured');
    this.#b.check(figures.running === (spinning ? this.#threads : 0), `${figures.running} runs at the window's end`);
    return { delayMs: figures.delayP99Ms, httpMs };
  }

  /** What other processes take of a shared machine is nobody's fault here; what nobody took is. */
  #checkSpin({ cpuMs, idleMs }: SpinFigures): void {
    const sum = cpuMs.reduce((a, b) => a + b, 0);
    const share = sum / (sum + idleMs);
    this.#b.checkTime(share >= LEAST_CPU_SHARE, `those that spin took ${(100 * share).toFixed(0)} % of what was left`);
    const least = Math.min(...cpuMs);
    const mean = sum / this.#threads;
    this.#b.checkTime(
      least >= LEAST_OF_MEAN * mean,
      `one spun for ${least.toFixed(0)} ms, in the mean ${mean.toFixed(0)}`,
    );
  }

  /** One request after the other. @returns the 99th percentile of their milliseconds */
  async #requests(windowMs: number): Promise<number> {
    const times: number[] = [];
    const until = performance.now() + windowMs;
    while (performance.now() < until) {
      const start = performance.now();
      const body = await this.#get('/api/sessions');
      times.push(performance.now() - start);
      const { sessions } = JSON.parse(body) as { sessions: unknown[] };
      this.#b.check(sessions.length === SESSIONS, `the list has ${sessions.length} rows`);
      await sleep(PAUSE_MS);
    }
    return quantile(times, 0.99);
  }

  #get(path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      get(this.#url + path, { agent: this.#agent }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve(body));
        response.on('error', reject);
      }).on('error', reject);
    });
  }

  #tell<C extends LagCommand>(command: C): Promise<LagAnswers[C]> {
    return new Promise((resolve, reject) => {
      this.#child.once('message', (message) => {
        const { answer, error } = message as { answer: LagAnswers[C]; error?: string };
        if (error === undefined) resolve(answer);
        else reject(new Error(error));
      });
      this.#child.send(command);
    });
  }
}
