// makespan: how much longer than its work a heap of CPU-bound runs takes, journal and all; and whether a few sessions
// that send most of the runs leave a thread without work.

import { fork, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Sqlite from 'better-sqlite3';
import { Piscina } from 'piscina';
import type { Host, RunInfo } from '../../src/main/index.js';
import { decodeState } from '../../src/protocol/codec.js';
import type { WorkState } from '../agents/worker.js';
import type { HashTask, Hashed } from '../baselines/hash-worker.js';
import { timed, type Bench, type BenchRun, type Result } from '../harness.js';
import { benchAgent, each, owned, startHost, tempDir } from '../support.js';
import { LEAST_SHARE, Workload, hashed } from './makespan-work.js';

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
  { ms: 100, runs: 24 },
];
const CPU_HEAVY_MS = 25;
const RUNS_EACH = 2;

export const makespan: Bench = {
  name: 'makespan',
  question: 'How much longer than its work does a heap of CPU-bound runs take?',
  async run(b) {
    const sender = await Sender.of(b);
    const pool = await piscina(b, THREADS);
    const skewedWork = await Workload.ofMs(b, pool, b.size(25, 2));
    const lengths: { x: number; ours: number; theirs: number }[] = [];
    for (const { ms, runs } of b.smoke ? [{ ms: 2, runs: 4 }] : LENGTHS) {
      const { value, baseline } = await equal(b, sender, pool, ms, runs);
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
    await children(b, sender, skewedWork);
    await skewed(b, sender, skewedWork.another());
  },
};

/** Runs of the same length, twice as many as sessions, against the same function without a host. */
async function equal(b: BenchRun, sender: Sender, pool: Piscina, ms: number, runs: number): Promise<Result> {
  const work = await Workload.ofMs(b, pool, ms);
  const ids = await sender.create(namesOf(`equal-${ms}`, runs / RUNS_EACH));
  const order = timesEach(ids);
  b.check(ids.length === runs / RUNS_EACH && order.length === runs, `${order.length} runs of ${ids.length} sessions`);
  const rounds = { ours: 0, theirs: 0 };
  const result = await b.compare(
    {
      metric: `${runs} runs of ${ms} ms of ${runs / RUNS_EACH} sessions, ${THREADS} threads`,
      unit: 'ms',
      baseline: 'piscina.run, nothing kept',
      // A run that is not CPU-heavy is for the curve.
      ...(ms >= CPU_HEAVY_MS || b.smoke ? { target: { of: 'ratio', is: 'at most', limit: 1.03 } as const } : {}),
    },
    () => sender.send(work, rounds.ours++, order),
    async () => {
      const { ms, answers } = await answered(work, rounds.theirs++, runs, (task) => hashed(pool, task));
      work.checkPlaces(answers, THREADS);
      return ms;
    },
  );
  work.checkMakespan(result, runs, THREADS);
  return result;
}

async function children(b: BenchRun, sender: Sender, work: Workload): Promise<void> {
  const ids = await sender.create(namesOf('children', b.size(24, 2)));
  const processes = await Promise.all(ids.map(() => startChild(b)));
  const rounds = { ours: 0, theirs: 0 };
  const order = timesEach(ids);
  const result = await b.compare(
    {
      metric: `${order.length} runs of ${ids.length} sessions, ${THREADS} threads`,
      unit: 'ms',
      baseline: 'one child process per agent',
    },
    () => sender.send(work, rounds.ours++, order),
    async () => {
      const last = new Map<ChildProcess, Promise<unknown>>();
      // One after the other of the same child, as of a session.
      const { ms, answers } = await answered(work, rounds.theirs++, order.length, (task, k) => {
        const child = processes[k % processes.length]!;
        const answer = (last.get(child) ?? Promise.resolve()).then(() => ask(child, task));
        last.set(child, answer);
        return answer;
      });
      work.checkPlaces(answers, ids.length);
      return ms;
    },
  );
  work.checkMakespan(result, order.length, THREADS);
}

async function skewed(b: BenchRun, sender: Sender, work: Workload): Promise<void> {
  const counts = zipf(b.size(40, 4), b.size(200, 10), THREADS);
  const runs = counts.reduce((sum, count) => sum + count, 0);
  const pinned = await Promise.all(Array.from({ length: THREADS }, () => piscina(b, 1)));
  const metric = `${runs} runs of ${counts.length} sessions, Zipf-skewed (the busiest sends ${counts[0]}), ${THREADS} threads`;
  // New ids every round: where a hash puts the busy sessions is luck, and one draw of it would prove nothing.
  const orderOf = (round: number): string[] =>
    shuffled(namesOf(`zipf-${round}`, counts.length).flatMap((id, k) => Array.from({ length: counts[k]! }, () => id)));
  const next = { ours: 0, ideal: 0, sticky: 0 };
  const idealMs = async (): Promise<number> => ((await busyRunMs(b, pinned, work, next.ideal++)) * runs) / THREADS;
  const rounds = await b.alternate(
    `${metric}, against the ideal and against pinned sessions`,
    // The machine's speed may change from one second to the next: the ideal is what it is before and after.
    async () => {
      const round = next.ours++;
      await sender.create(namesOf(`zipf-${round}`, counts.length));
      const before = await idealMs();
      const ms = await sender.send(work, round, orderOf(round));
      return { ms, ideal: (before + (await idealMs())) / 2 };
    },
    async () => {
      const round = next.sticky++;
      const order = orderOf(round);
      const { ms, answers } = await answered(work, round, runs, (task, k) => {
        return hashed(pinned[threadOf(order[k]!)]!, task);
      });
      work.checkPlaces(answers, new Set(order.map(threadOf)).size);
      return ms;
    },
  );
  const ideal = b.record(
    {
      metric,
      unit: 'ms',
      baseline: 'the work divided by the threads',
      target: { of: 'ratio', is: 'at most', limit: 1.1 },
    },
    rounds.map(({ ours }) => ({ value: ours.ms, baseline: ours.ideal })),
  );
  const sticky = b.record(
    { metric, unit: 'ms', baseline: 'each session pinned to thread hash(id) mod threads' },
    rounds.map(({ ours, theirs }) => ({ value: ours.ms, baseline: theirs })),
  );
  b.checkTime(ideal.ratio! >= LEAST_SHARE, 'no makespan is shorter than its work divided by the threads');
  for (const result of [ideal, sticky]) work.checkMakespan(result, runs, THREADS);
}

function namesOf(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, k) => `${name}-${k}`);
}

function timesEach(ids: readonly string[]): string[] {
  return Array.from({ length: RUNS_EACH }, () => ids).flat();
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
async function busyRunMs(b: BenchRun, pools: readonly Piscina[], work: Workload, round: number): Promise<number> {
  const tasks = work.tasks(round, pools.length * b.size(16, 2));
  const results = await Promise.all(tasks.map((task, k) => hashed(pools[k % pools.length]!, task)));
  work.check(tasks, results);
  work.checkPlaces(results, THREADS);
  return results.reduce((sum, { ms }) => sum + ms, 0) / results.length;
}

/** The answers to a round's tasks, and the milliseconds until all are there. */
async function answered(
  work: Workload,
  round: number,
  count: number,
  answer: (task: HashTask, k: number) => Promise<Hashed>,
): Promise<{ ms: number; answers: Hashed[] }> {
  const tasks = work.tasks(round, count);
  let answers: Hashed[] = [];
  const ms = await timed(async () => {
    answers = await Promise.all(tasks.map(answer));
  });
  work.check(tasks, answers);
  return { ms, answers };
}

/** Sends runs to sessions of one host, and knows what each of them must have on disk. */
class Sender {
  readonly #b: BenchRun;
  readonly #host: Host;
  readonly #database: string;
  readonly #sent = new Map<string, number>();

  private constructor(b: BenchRun, host: Host, database: string) {
    this.#b = b;
    this.#host = host;
    this.#database = database;
  }

  static async of(b: BenchRun): Promise<Sender> {
    const dataDir = tempDir(b);
    const agents = [benchAgent('worker')];
    const host = await startHost(b, { agents, threads: THREADS, niceIncrement: NICE, dataDir });
    return new Sender(b, host, join(dataDir, 'cabana.db'));
  }

  async create(ids: string[]): Promise<string[]> {
    await each(ids, 64, (sessionId) => this.#host.create({ sessionId, agentProfile: 'worker' }));
    return ids;
  }

  /** One run for each id in this order, all sent at once. @returns milliseconds until all have ended */
  async send(work: Workload, round: number, order: readonly string[]): Promise<number> {
    const tasks = work.tasks(round, order.length);
    let runs: RunInfo[] = [];
    const ms = await timed(async () => {
      runs = await Promise.all(
        tasks.map(({ rounds, seed }, k) => this.#host.send(order[k]!, { hash: rounds, seed }).result),
      );
    });
    for (const { state, error } of runs) this.#b.check(state === 'completed', `a run ended ${state}: ${error}`);
    work.check(
      tasks,
      runs.map(({ output }) => output as Hashed),
    );
    for (const id of order) this.#sent.set(id, (this.#sent.get(id) ?? 0) + 1);
    await this.#checkSaved(new Set(order));
    return ms;
  }

  /** Every run has left its input and its outcome on disk, and the state that came after it. */
  async #checkSaved(ids: ReadonlySet<string>): Promise<void> {
    const b: BenchRun = this.#b;
    const db = new Sqlite(this.#database, { readonly: true });
    try {
      const state = db.prepare<[string], { body: Uint8Array }>(
        'SELECT body FROM snapshots JOIN sessions ON key = session WHERE id = ?',
      );
      for (const id of ids) {
        const runs = this.#sent.get(id);
        const page = await this.#host.messages(id, { limit: 1 });
        const last = page?.messages[0]?.['seq'];
        b.check(last === 2 * runs!, `the history of ${id} ends at ${String(last)} after ${runs} runs`);
        const row = state.get(id);
        const saved = row ? (decodeState(row.body) as WorkState).runs : 0;
        b.check(saved === runs, `the saved state of ${id} knows of ${saved} runs of ${runs}`);
      }
    } finally {
      db.close();
    }
  }
}

/** All of its threads are there, and have answered. */
async function piscina(b: BenchRun, threads: number): Promise<Piscina> {
  const pool = new Piscina({ filename: WORKER, minThreads: threads, maxThreads: threads, niceIncrement: NICE });
  b.after(() => pool.destroy());
  const places = new Set<string>();
  while (places.size < threads) {
    const answers = await Promise.all(Array.from({ length: threads }, () => hashed(pool, { rounds: 1, seed: 0 })));
    for (const { place } of answers) places.add(place);
  }
  return pool;
}

async function startChild(b: BenchRun): Promise<ChildProcess> {
  const child = owned(fork(CHILD, { execArgv: [] }));
  b.after(() => child.disconnect());
  await new Promise((resolve) => child.once('message', resolve));
  return child;
}

function ask(child: ChildProcess, task: HashTask): Promise<Hashed> {
  return new Promise((resolve) => {
    child.once('message', (answer) => resolve(answer as Hashed));
    child.send(task);
  });
}
