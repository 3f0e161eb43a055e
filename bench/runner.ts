// Runs benchmarks one after the other, each within a time limit, and gathers what they measured. One that fails is told of,
// and the next one runs; but nothing runs beside one that does not end.

import { BenchRun, CheckFailed, type Bench, type Curve, type Result } from './harness.js';

export interface RunnerOptions {
  smoke: boolean;
  /** For a benchmark, and for what it leaves to be done when it is over. */
  limitsMs: { run: number; cleanUp: number };
  /** What is being done now. */
  onProgress(text: string): void;
  onOver(bench: Bench): void;
}

/** It still runs: whatever came next would run beside it. */
class NotOver extends CheckFailed {}

export class Runner {
  readonly results: Result[] = [];
  readonly curves: Curve[] = [];
  /** In words. */
  readonly failures: string[] = [];
  readonly #options: RunnerOptions;
  /** What a benchmark that does not end was doing. */
  #doing = '';
  /** Ends the wait for the benchmark that runs. */
  #giveUp: ((error: NotOver) => void) | null = null;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  /** Until all are over, or one is not within its limit: then the others are told of as not run. */
  async run(benches: readonly Bench[]): Promise<void> {
    for (const [i, bench] of benches.entries()) {
      const isOver = await this.#runOne(bench);
      if (isOver) {
        this.#options.onOver(bench);
        continue;
      }
      const others = benches.slice(i + 1).map(({ name }) => name);
      if (others.length > 0) this.failures.push(`not run, since ${bench.name} is not over: ${others.join(', ')}`);
      return;
    }
  }

  /** Something failed that no benchmark awaits. */
  failed(error: unknown): void {
    this.failures.push(`${this.#doing}: ${stackOf(error)}`);
  }

  /**
   * Something threw where nobody could catch it, in the middle of a benchmark, which may never end now: it has failed, and
   * nothing runs beside what is left of it.
   */
  crashed(error: unknown): void {
    if (this.#giveUp) this.#giveUp(new NotOver(`${this.#doing}: ${stackOf(error)}`));
    else this.failed(error);
  }

  /** @returns false: it still does something */
  async #runOne(bench: Bench): Promise<boolean> {
    const { smoke, limitsMs } = this.#options;
    const run = new BenchRun(bench, smoke, (text) => this.#say(text));
    this.#say(bench.name);
    let isOver = true;
    try {
      await this.#within(limitsMs.run, bench.run(run));
    } catch (error) {
      isOver &&= !(error instanceof NotOver);
      // A check says what is wrong; of anything else it matters where it came from.
      this.failures.push(error instanceof CheckFailed ? error.message : `${bench.name}: ${stackOf(error)}`);
    }
    try {
      await this.#within(limitsMs.cleanUp, run.cleanUp());
    } catch (error) {
      isOver &&= !(error instanceof NotOver);
      const what = error instanceof CheckFailed ? error.message : stackOf(error);
      this.failures.push(`${bench.name}, when it was over: ${what}`);
    }
    this.results.push(...run.results);
    this.curves.push(...run.curves);
    return isOver;
  }

  #say(text: string): void {
    this.#doing = text;
    this.#options.onProgress(text);
  }

  async #within(ms: number, work: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      this.#giveUp = reject;
      timer = setTimeout(() => reject(new NotOver(`${this.#doing}: not over after ${ms / 1000} s`)), ms);
    });
    try {
      await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
      this.#giveUp = null;
    }
  }
}

function stackOf(error: unknown): string {
  if (error instanceof AggregateError) return [error.message, ...error.errors.map(stackOf)].join('\n');
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
