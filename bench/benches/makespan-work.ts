// The work of makespan: CPU-bound runs, each with an input of its own so that no answer can be a remembered one; and the
// check that all of it was done.
//
// Both sides get the same inputs in the same rounds, so that each is the other's proof; and of every round some answers
// are worked out here as well.

import { getPriority } from 'node:os';
import type { Piscina } from 'piscina';
import { hashRounds } from '../agents/worker.js';
import type { HashTask, Hashed } from '../baselines/hash-worker.js';
import type { BenchRun, Result } from '../harness.js';

const PROBE_ROUNDS = 4_000;
const PROBES = 20;
/** Inputs are numbered: how many numbers those of a round, and those of a workload, have to themselves. */
const ROUND_SEEDS = 1_000;
const WORKLOAD_SEEDS = 100 * ROUND_SEEDS;
/** No makespan is shorter than its work; how long the work is wobbles. */
export const LEAST_SHARE = 0.8;
/** No run is over in less than this part of what it was to take: nothing gets so much quicker from one second to the next. */
const LEAST_OF_RUN = 0.3;

let workloads = 0;

export class Workload {
  readonly #b: BenchRun;
  /** Of hashing, in each run. */
  readonly #rounds: number;
  readonly #firstSeed = WORKLOAD_SEEDS * workloads++;
  readonly #digests = new Map<number, string>();
  readonly #ms: number;
  /** The quickest run that was seen on whatever side does nothing else. */
  #leastMs: number;

  private constructor(b: BenchRun, rounds: number, ms: number) {
    this.#b = b;
    this.#rounds = rounds;
    this.#ms = ms;
    this.#leastMs = ms;
  }

  /** Runs of about `ms` milliseconds, where they are done: by the quickest of some tries, whatever else runs. */
  static async ofMs(b: BenchRun, pool: Piscina, ms: number): Promise<Workload> {
    let least = Infinity;
    for (let i = 0; i < PROBES; i++) {
      least = Math.min(least, (await hashed(pool, { rounds: PROBE_ROUNDS, seed: i })).ms);
    }
    return new Workload(b, Math.round((PROBE_ROUNDS * ms) / least), ms);
  }

  /** The same length, other inputs. */
  another(): Workload {
    return new Workload(this.#b, this.#rounds, this.#ms);
  }

  tasks(round: number, count: number): HashTask[] {
    const first = this.#firstSeed + ROUND_SEEDS * round;
    return Array.from({ length: count }, (_, k) => ({ rounds: this.#rounds, seed: first + k }));
  }

  /** Each answer is the one to its own task. Not while anything is timed. */
  check(tasks: readonly HashTask[], answers: readonly { digest: string; ms?: number }[]): void {
    const b: BenchRun = this.#b;
    b.check(answers.length === tasks.length, `${answers.length} of ${tasks.length} runs answered`);
    for (const [k, { seed }] of tasks.entries()) {
      const { digest, ms = Infinity } = answers[k]!;
      b.check(ms >= LEAST_OF_RUN * this.#ms, `a run of ${this.#ms} ms of work took ${ms} ms`);
      this.#leastMs = Math.min(this.#leastMs, ms);
      const known = this.#digests.get(seed) ?? digest;
      b.check(digest === known, `run ${k} answered ${digest} on one side, and ${known} on the other`);
      this.#digests.set(seed, digest);
    }
    const digests = new Set(answers.map(({ digest }) => digest));
    b.check(digests.size === tasks.length, 'every run answered to its own input');
    const { rounds, seed } = tasks[this.#digests.size % tasks.length]!;
    b.check(this.#digests.get(seed) === hashRounds(rounds, seed), 'the hash is right');
  }

  /** A baseline without a handicap: on as many threads or processes as ours, none of them nicer than this one. */
  checkPlaces(answers: readonly Hashed[], expected: number): void {
    const b: BenchRun = this.#b;
    const places = new Set(answers.map(({ place }) => place));
    b.check(places.size === expected, `the runs were done in ${places.size} places instead of ${expected}`);
    const nicest = Math.max(...answers.map(({ nice }) => nice));
    b.check(nicest <= getPriority(), `a thread of the baseline has a nice value of ${nicest}`);
  }

  /** Not shorter in any round than all of its runs are at their quickest, on every thread at once. */
  checkMakespan({ rounds }: Result, runs: number, threads: number): void {
    const least = (LEAST_SHARE * this.#leastMs * runs) / threads;
    for (const { value } of rounds) {
      const took = `${runs} runs of ${this.#leastMs.toFixed(1)} ms took ${value.toFixed(1)} ms on ${threads} threads`;
      this.#b.check(value >= least, `${took}: not all of the work was done`);
    }
  }
}

export function hashed(pool: Piscina, task: HashTask): Promise<Hashed> {
  return pool.run(task) as Promise<Hashed>;
}
