// makespan: how much longer than its work a heap of CPU-bound runs takes, journal and all; and whether a few sessions
// that send most of the runs leave a thread without work.

import { fork, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { Host } from '../../src/main/index.js';
import { hashRounds } from '../agents/worker.js';
import type { Hashed } from '../baselines/hash-worker.js';
import { timed, type Bench, type BenchRun, type Result } from '../harness.js';
import { benchAgent, each, startHost } from '../support.js';

const THREADS = availableParallelism();
/** The same for all sides. 0: at 19 whatever else the machine does decides the figures. */
const NICE = 0;

const WORKER = fileURLToPath(new URL('../baselines/hash-worker.js', import.meta.url));
const CHILD = fileURLToPath(new URL('../baselines/hash-child.js', import.meta.url));

/** Of equal runs: how long each is, and how many there are. */
const LENGTHS = [
  { ms: 1, runs: 400 },
  { ms: 5, runs: 200 },
  { ms: 25, runs: 80 },
  { ms: 100, runs: 40 },
];
const CPU_HEAVY_MS = 25;
const RUNS_EACH = 2;

/** CPU work, and what it must come to. */
interface Work {
  rounds: number;
  digest: string;
}

export const makespan: Bench = {
  name: 'makespan',
  question: 'How much longer than its work does a heap of CPU-bound runs take?',
  async run(b) {
    const host = await startHost(b, { agents: [benchAgent('worker')], threads: THREADS, niceIncrement: NICE });
    const pool = piscina(b, THREADS);
    const skewedWork = await calibrated(pool, b.size(25, 2));
    const lengths: { x: number; ours: number; theirs: number }[] = [];
    for (const { ms, runs } of b.smoke ? [{ ms: 2, runs: 4 }] : LENGTHS) {
      const { value, baseline } = await equal(b, host, pool, ms, runs);
      lengths.push({ x: ms, ours: (value * THREADS) / runs, theirs: (baseline! * THREADS) / runs });
    }
    b.curve({
      metric: 'thread time a run takes, everything around it included',
      xUnit: 'ms of work a run',
      unit: 'ms',
      series: [
        { name: 'Cabana, journal and all', points: lengths.map(({ x, ours }) => ({ x, y: ours })) },
        { name: 'piscina.run, nothing kept', points: lengths.map(({ x, theirs }) => ({ x, y: theirs })) },
      ],
    });
    await children(b, host, skewedWork);
    await skewed(b, host, skewedWork);
  },
};

/** Work of about so many milliseconds, where it is done: the quickest of some tries, whatever else runs. */
async function calibrated(pool: Piscina, ms: number): Promise<Work> {
  const probe = 4_000;
  let least = Infinity;
  for (let i = 0; i < 20; i++) least = Math.min(least, (await hashed(pool, probe)).ms);
  const rounds = Math.round((probe * ms) / least);
  return { rounds, digest: hashRounds(rounds) };
}

/** Runs of the same length, twice as many as sessions, against the same function without a host. */
async function equal(b: BenchRun, host: Host, pool: Piscina, ms: number, runs: number): Promise<Result> {
  const work = await calibrated(pool, ms);
  const sending = await EqualRuns.of(b, host, `equal-${ms}`, runs / 2, work);
  return b.compare(
    {
      metric: `${runs} runs of ${ms} ms of ${runs / 2} sessions, ${THREADS} threads`,
      unit: 'ms',
      baseline: 'piscina.run, nothing kept',
      // A run that is not CPU-heavy is for the curve.
      ...(ms >= CPU_HEAVY_MS || b.smoke ? { target: { of: 'ratio', is: 'at most', limit: 1.03 } as const } : {}),
    },
    () => sending.round(),
    () =>
      timed(() => Promise.all(sending.order.map(async () => checkDigest(b, await hashed(pool, work.rounds), work)))),
  );
}

async function children(b: BenchRun, host: Host, work: Work): Promise<void> {
  const sending = await EqualRuns.of(b, host, 'children', b.size(40, 2), work);
  const processes = await Promise.all(sending.ids.map(() => startChild(b)));
  await b.compare(
    {
      metric: `${sending.order.length} runs of ${sending.ids.length} sessions, ${THREADS} threads`,
      unit: 'ms',
      baseline: 'one child process per agent',
    },
    () => sending.round(),
    () =>
      timed(() =>
        Promise.all(
          processes.map(async (child) => {
            for (let i = 0; i < RUNS_EACH; i++) checkDigest(b, await ask(child, work.rounds), work);
          }),
        ),
      ),
  );
}

/** Some sessions, each of which sends the same number of runs. */
class EqualRuns {
  readonly order: readonly string[];
  #sent = 0;

  private constructor(
    readonly b: BenchRun,
    readonly host: Host,
    readonly ids: readonly string[],
    readonly work: Work,
  ) {
    this.order = Array.from({ length: RUNS_EACH }, () => ids).flat();
  }

  static async of(b: BenchRun, host: Host, name: string, sessions: number, work: Work): Promise<EqualRuns> {
    const ids = Array.from({ length: sessions }, (_, k) => `${name}-${k}`);
    return new EqualRuns(b, host, await created(host, ids), work);
  }

  /** Milliseconds until all have run. */
  async round(): Promise<number> {
    const ms = await timed(() => sendAll(this.b, this.host, this.order, this.work));
    this.#sent += RUNS_EACH;
    for (const id of this.ids) await checkHistory(this.b, this.host, id, this.#sent);
    return ms;
  }
}

async function skewed(b: BenchRun, host: Host, work: Work): Promise<void> {
  const counts = zipf(b.size(40, 4), b.size(200, 10), THREADS);
  const runs = counts.reduce((sum, count) => sum + count, 0);
  const pinned = Array.from({ length: THREADS }, () => piscina(b, 1));
  const metric = `${runs} runs of ${counts.length} sessions, Zipf-skewed (the busiest sends ${counts[0]}), ${THREADS} threads`;
  let generation = 0;

  // New ids every round: where a hash puts the busy sessions is luck, and one draw of it would prove nothing.
  const ours = async (): Promise<number> => {
    const names = namesOf(counts, generation++);
    await created(host, names);
    const order = shuffled(names.flatMap((id, k) => Array.from({ length: counts[k]! }, () => id)));
    const ms = await timed(() => sendAll(b, host, order, work));
    for (const [k, id] of names.entries()) await checkHistory(b, host, id, counts[k]!);
    return ms;
  };
  await b.compare(
    {
      metric,
      unit: 'ms',
      baseline: 'the work divided by the threads',
      // The machine's speed may change from one second to the next.
      rounds: 7,
      target: { of: 'ratio', is: 'at most', limit: 1.1 },
    },
    ours,
    async () => ((await busyRunMs(b, pinned, work)) * runs) / THREADS,
  );

  let stickyGeneration = 0;
  await b.compare({ metric, unit: 'ms', baseline: 'each session pinned to thread hash(id) mod threads' }, ours, () => {
    const names = namesOf(counts, stickyGeneration++);
    const order = shuffled(names.flatMap((id, k) => Array.from({ length: counts[k]! }, () => id)));
    return timed(() =>
      Promise.all(order.map(async (id) => checkDigest(b, await hashed(pinned[threadOf(id)]!, work.rounds), work))),
    );
  });
}

function namesOf(counts: readonly number[], generation: number): string[] {
  return counts.map((_, k) => `zipf-${generation}-${k}`);
}

function threadOf(id: string): number {
  return createHash('sha256').update(id).digest().readUInt32BE(0) % THREADS;
}

/** Runs of each session: the k-th sends 1/k of what the first does; nobody so many that one thread could not keep up. */
function zipf(sessions: number, runs: number, threads: number): number[] {
  const harmonic = Array.from({ length: sessions }, (_, k) => 1 / (k + 1)).reduce((sum, w) => sum + w, 0);
  const most = Math.floor((0.75 * runs) / threads);
  return Array.from({ length: sessions }, (_, k) => Math.min(most, Math.max(1, Math.round(runs / harmonic / (k + 1)))));
}

/** In the same disorder every time. */
function shuffled<T>(items: readonly T[]): T[] {
  const result = [...items];
  let seed = 42;
  for (let i = result.length - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    const j = seed % (i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** Milliseconds of one run while every thread runs one: what "the work" is, on cores that share caches and clocks. */
async function busyRunMs(b: BenchRun, pools: readonly Piscina[], work: Work): Promise<number> {
  const each = b.size(16, 2);
  const results = await Promise.all(
    pools.flatMap((pool) => Array.from({ length: each }, () => hashed(pool, work.rounds))),
  );
  return results.reduce((sum, { ms }) => sum + ms, 0) / results.length;
}

async function created(host: Host, ids: string[]): Promise<string[]> {
  await each(ids, 64, (sessionId) => host.create({ sessionId, agentProfile: 'worker' }));
  return ids;
}

/** One run for each id in this order, all sent at once. */
async function sendAll(b: BenchRun, host: Host, order: readonly string[], work: Work): Promise<void> {
  const runs = order.map((id) => host.send(id, { hash: work.rounds }).result);
  for (const run of await Promise.all(runs)) {
    b.check(run.state === 'completed', `a run ended ${run.state}: ${run.error}`);
    checkDigest(b, run.output as Hashed, work);
  }
}

/** Every run has left its input and its outcome on disk. */
async function checkHistory(b: BenchRun, host: Host, id: string, runs: number): Promise<void> {
  const page = await host.messages(id, { limit: 1 });
  const last = page?.messages[0]?.['seq'];
  b.check(last === 2 * runs, `the history of ${id} ends at ${String(last)} after ${runs} runs`);
}

function checkDigest(b: BenchRun, result: { digest: string }, work: Work): void {
  b.check(result.digest === work.digest, 'the hash is right');
}

function piscina(b: BenchRun, threads: number): Piscina {
  const pool = new Piscina({ filename: WORKER, minThreads: threads, maxThreads: threads, niceIncrement: NICE });
  b.after(() => pool.destroy());
  return pool;
}

function hashed(pool: Piscina, rounds: number): Promise<Hashed> {
  return pool.run(rounds) as Promise<Hashed>;
}

async function startChild(b: BenchRun): Promise<ChildProcess> {
  const child = fork(CHILD, { execArgv: [] });
  b.after(() => child.disconnect());
  await new Promise((resolve) => child.once('message', resolve));
  return child;
}

function ask(child: ChildProcess, rounds: number): Promise<Hashed> {
  return new Promise((resolve) => {
    child.once('message', (answer) => resolve(answer as Hashed));
    child.send(rounds);
  });
}
