// What every benchmark is written with: alternating rounds of A and B, medians with their spread, checks of the work that
// was timed, and the curve of cost against N.

import { performance } from 'node:perf_hooks';

/** One figure. `ratio` is the median of the rounds' ratios; every round is kept, so that it can be recomputed. */
export interface Result {
  bench: string;
  metric: string;
  unit: string;
  /** Median over the rounds. */
  value: number;
  /** Name and median of what ran side by side; null: an absolute figure. */
  baselineName: string | null;
  baseline: number | null;
  /** Median of the rounds' ratios; null without a baseline. */
  ratio: number | null;
  /** What was aimed at, in words. */
  target: string | null;
  met: boolean | null;
  /** Least and greatest: of the ratio, or of the value where there is no baseline. */
  spread: [number, number];
  rounds: { value: number; baseline: number | null }[];
}

/** Cost against size: one growth curve. */
export interface Curve {
  bench: string;
  metric: string;
  xUnit: string;
  unit: string;
  series: { name: string; points: { x: number; y: number }[] }[];
}

export interface Bench {
  name: string;
  /** The one question that it answers. */
  question: string;
  run(b: BenchRun): Promise<void>;
}

export interface Target {
  /** 'ratio' or 'value' is compared. */
  of: 'ratio' | 'value';
  is: 'at most' | 'at least';
  limit: number;
}

/** The wrong answer, however fast: the message names the benchmark. */
export class CheckFailed extends Error {
  override readonly name = 'CheckFailed';
}

/** What a figure is told of. */
interface Metric {
  metric: string;
  unit: string;
  target?: Target;
  /** The least value that is a measurement. By default whatever is above 0: a clock that was not started says 0. */
  least?: number;
  /** Why one round is enough for a figure with a target. */
  onceSince?: string;
}

const FULL_ROUNDS = 5;

/** How a comparison goes, unless it is a smoke run, which is one round of each. */
interface Rounds {
  /** Default FULL_ROUNDS. */
  rounds?: number;
  /** Each round of ours is a process of its own: there is nothing to warm up. */
  startsAnew?: boolean;
}

export class BenchRun {
  readonly #bench: Bench;
  readonly smoke: boolean;
  readonly results: Result[] = [];
  readonly curves: Curve[] = [];
  readonly #say: (text: string) => void;
  readonly #cleanups: (() => unknown)[] = [];

  constructor(bench: Bench, smoke: boolean, say: (text: string) => void) {
    this.#bench = bench;
    this.smoke = smoke;
    this.#say = say;
  }

  /** The size of a piece of work: small enough for a second in a smoke run. */
  size(full: number, smoke: number): number {
    return this.smoke ? smoke : full;
  }

  get rounds(): number {
    return this.smoke ? 1 : FULL_ROUNDS;
  }

  progress(text: string): void {
    this.#say(`${this.#bench.name}: ${text}`);
  }

  /** Fails the benchmark: what was timed did not do its work. */
  check(holds: boolean, what: string): asserts holds {
    if (!holds) throw new CheckFailed(`${this.#bench.name}: ${what}`);
  }

  /** The same of what clocks said: not in a smoke run, whose one round is short and beside whatever else runs. */
  checkTime(holds: boolean, what: string): void {
    if (!this.smoke) this.check(holds, what);
  }

  /** Runs when the benchmark has ended, the last one first. */
  after(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  /** Every clean-up, also when others fail. @throws AggregateError of what they threw */
  async cleanUp(): Promise<void> {
    const errors: unknown[] = [];
    for (const cleanup of this.#cleanups.splice(0).reverse()) {
      try {
        await cleanup();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, `clean-ups that failed: ${errors.length}`);
  }

  /**
   * Measures A (ours) and B (the baseline) in alternating rounds, A B, B A, A B, ...: a drift of the machine hits both.
   * Each function returns its figure in `unit`; one round of each is run first and not counted, unless it starts anew.
   */
  async compare(
    what: Metric & Rounds & { baseline: string },
    ours: () => Promise<number> | number,
    theirs: () => Promise<number> | number,
  ): Promise<Result> {
    const rounds = await this.alternate(`${what.metric} against ${what.baseline}`, ours, theirs, what);
    return this.record(
      what,
      rounds.map((round) => ({ value: round.ours, baseline: round.theirs })),
    );
  }

  /** The alternating rounds of compare(), of functions that measure several things at once: record() takes them apart. */
  async alternate<A, B>(
    what: string,
    ours: () => Promise<A> | A,
    theirs: () => Promise<B> | B,
    { rounds: fullRounds = FULL_ROUNDS, startsAnew = false }: Rounds = {},
  ): Promise<{ ours: A; theirs: B }[]> {
    const count = this.smoke ? 1 : fullRounds;
    if (!this.smoke && !startsAnew) {
      await ours();
      await theirs();
    }
    const rounds: { ours: A; theirs: B }[] = [];
    for (let i = 0; i < count; i++) {
      this.progress(`${what}, round ${i + 1} of ${count}`);
      if (i % 2 === 0) {
        rounds.push({ ours: await ours(), theirs: await theirs() });
      } else {
        const before = await theirs();
        rounds.push({ ours: await ours(), theirs: before });
      }
    }
    return rounds;
  }

  /** A figure and its baseline, as alternating rounds gave them. */
  record(what: Metric & { baseline: string }, rounds: { value: number; baseline: number }[]): Result {
    const ratios = rounds.map((round) => round.value / round.baseline);
    return this.#add(what, rounds, {
      value: median(rounds.map((round) => round.value)),
      baselineName: what.baseline,
      baseline: median(rounds.map((round) => round.baseline)),
      ratio: median(ratios),
      spread: [Math.min(...ratios), Math.max(...ratios)],
    });
  }

  /** Measures one thing by itself, against a limit of its own. */
  async measure(what: Metric & { rounds?: number }, ours: () => Promise<number> | number): Promise<Result> {
    const count = this.smoke ? 1 : (what.rounds ?? FULL_ROUNDS);
    const values: number[] = [];
    for (let i = 0; i < count; i++) {
      this.progress(`${what.metric}, round ${i + 1} of ${count}`);
      values.push(await ours());
    }
    return this.recordValues(what, values);
  }

  /** A figure by itself, as rounds that were for something else as well gave it. */
  recordValues(what: Metric, values: readonly number[]): Result {
    const rounds = values.map((value) => ({ value, baseline: null }));
    return this.#add(what, rounds, {
      value: median(values),
      baselineName: null,
      baseline: null,
      ratio: null,
      spread: [Math.min(...values), Math.max(...values)],
    });
  }

  #add(
    what: Metric,
    rounds: Result['rounds'],
    figures: Pick<Result, 'value' | 'baselineName' | 'baseline' | 'ratio' | 'spread'>,
  ): Result {
    const { metric, unit, target, least = Number.MIN_VALUE, onceSince } = what;
    const areEnough = !target || this.smoke || onceSince !== undefined || rounds.length >= FULL_ROUNDS;
    this.check(areEnough, `${metric} has a target, and no more than ${rounds.length} rounds`);
    for (const { value, baseline } of rounds) {
      const isOne = Number.isFinite(value) && value >= least && Number.isFinite(baseline ?? 0) && (baseline ?? 1) > 0;
      this.check(isOne, `${metric}: ${value}${baseline === null ? '' : ` against ${baseline}`} is no measurement`);
    }
    const aimed = target ? `${target.of === 'ratio' ? 'ratio ' : ''}${target.is} ${target.limit}` : null;
    const result: Result = {
      bench: this.#bench.name,
      metric,
      unit,
      ...figures,
      target: aimed === null ? null : target!.of === 'value' ? `${aimed} ${unit}` : aimed,
      met: target ? meets(target, target.of === 'ratio' ? figures.ratio! : figures.value) : null,
      rounds,
    };
    this.results.push(result);
    return result;
  }

  curve(curve: Omit<Curve, 'bench'>): void {
    this.curves.push({ bench: this.#bench.name, ...curve });
  }
}

function meets(target: Target, figure: number): boolean {
  return target.is === 'at most' ? figure <= target.limit : figure >= target.limit;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** By linear interpolation between the two nearest. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)]!;
  return low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at));
}

/** Milliseconds that the work took. */
export async function timed(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Three significant digits, without an exponent for what people read. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude >= 1e9 || magnitude < 1e-3)) return value.toExponential(2);
  if (magnitude >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
