// restore: what it costs to bring a cold session up, by the length of its history; many at once; and one that many want.
//
// A session with a fresh snapshot reads that alone, however long its history is. One whose process died reads every entry
// after its snapshot as well.

import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from '../../src/main/index.js';
import { bytesOf, sha256, type Kept, type KeptState } from '../agents/keeper.js';
import { RawRestore, type RawRestored } from '../baselines/raw-restore.js';
import { timed, type Bench, type BenchRun, type Target } from '../harness.js';
import { benchAgent, each, startHost, tempDir } from '../support.js';
import { EPOCH_BEFORE, writeHistories, type Stored } from './restore-histories.js';

const STATE_BYTES = 4 * 1024;
/** Sessions that are brought up before anything is timed: a host that has just started runs cold code. */
const WARM_SESSIONS = 50;
/** Of a short history there are several sessions, one after the other: one by itself is over too soon. */
const REPEATS = { upTo: 1_000, count: 20 };

const TARGET = { of: 'ratio', is: 'at most', limit: 1.5 } as const;

export const restore: Bench = {
  name: 'restore',
  question: 'What does it cost to bring up a cold session, or many, or one that many want at once?',
  async run(b) {
    const bench = await Restoring.prepare(b, {
      sizes: b.smoke ? [10] : [10, 1_000, 100_000],
      many: b.size(1_000, 20),
      callers: b.size(10_000, 100),
    });
    await bench.compare();
  },
};

interface Sizes {
  /** Lengths of histories. */
  sizes: readonly number[];
  /** Sessions brought up at once. */
  many: number;
  /** Callers for one session. */
  callers: number;
}

/** Milliseconds, by what took them. */
type Times = Map<string, number>;

class Restoring {
  readonly #b: BenchRun;
  readonly #template: string;
  readonly #sizes: Sizes;
  /** By fresh or not and length of history: one each, or several of a short one. */
  readonly #groups: readonly Stored[][];
  readonly #many: readonly Stored[];
  readonly #wanted: { byOne: Stored; byMany: Stored };
  /** By id: of the numbers in a session's history. */
  #sums: ReadonlyMap<string, number> = new Map();
  #copies = 0;

  private constructor(b: BenchRun, template: string, sizes: Sizes) {
    this.#b = b;
    this.#template = template;
    this.#sizes = sizes;
    this.#groups = sizes.sizes.flatMap((history) =>
      [true, false].map((fresh) =>
        Array.from({ length: b.size(history <= REPEATS.upTo ? REPEATS.count : 1, 1) }, (_, k) => ({
          id: `${fresh ? 'fresh' : 'tail'}-${history}-${k}`,
          history,
          fresh,
        })),
      ),
    );
    this.#many = short('many', sizes.many);
    const history = sizes.sizes[1] ?? sizes.sizes[0]!;
    this.#wanted = {
      byOne: { id: 'wanted-by-one', history, fresh: false },
      byMany: { id: 'wanted-by-many', history, fresh: false },
    };
  }

  /** Sessions made by a host; their histories are written where it would have written them, in a fraction of the time. */
  static async prepare(b: BenchRun, sizes: Sizes): Promise<Restoring> {
    const dataDir = tempDir(b);
    const database = join(dataDir, 'cabana.db');
    const bench = new Restoring(b, database, sizes);
    const all = [...bench.#groups.flat(), ...bench.#many, ...Object.values(bench.#wanted), ...bench.#warm];
    const host = await startHost(b, { agents: [benchAgent('keeper')], dataDir });
    await each(all, 64, async ({ id }) => {
      await host.create({ sessionId: id, agentProfile: 'keeper' });
      const run = await host.send(id, { fill: STATE_BYTES }).result;
      b.check(run.state === 'completed', `${id} was filled`);
    });
    await host.close();
    bench.#sums = await writeHistories(b, database, all);
    return bench;
  }

  get #warm(): Stored[] {
    return short('warm', this.#b.size(WARM_SESSIONS, 1));
  }

  /** Every round is one host and one raw reader, each of which brings up everything once. */
  async compare(): Promise<void> {
    const b: BenchRun = this.#b;
    const rounds = await b.alternate(
      'bringing up cold sessions',
      () => this.#onHost((host) => this.#ours(host)),
      () => this.#theirs(),
    );
    const record = (
      what: { metric: string; baseline: string; target?: Target },
      of: { ours: string; theirs: string },
    ) =>
      b.record(
        { ...what, unit: 'ms' },
        rounds.map(({ ours, theirs }) => ({
          value: ours.get(of.ours)!,
          baseline: (theirs.get(of.theirs) ?? ours.get(of.theirs))!,
        })),
      );
    const raw = { baseline: 'raw read and decode of the same rows', target: TARGET };
    const curves = new Map<string, { x: number; y: number }[]>();
    const point = (name: string, x: number, y: number): void => {
      curves.set(name, [...(curves.get(name) ?? []), { x, y }]);
    };
    for (const [first] of this.#groups) {
      const { history, fresh } = first!;
      const what = fresh ? 'a fresh snapshot' : 'all of it after the snapshot';
      const metric = `ensure(), history of ${history.toLocaleString('en-US')}, ${what}`;
      const name = nameOf(first!);
      const plain = record({ metric, ...raw }, { ours: name, theirs: name });
      point(`Cabana, ${what}`, history, plain.value);
      point(`raw read and decode, ${what}`, history, plain.baseline!);
      // What taking an epoch adds is the same for every size: the least shows it best.
      if (history === this.#sizes.sizes[0]) {
        const fenced = 'the same, and its epoch written';
        record({ metric, baseline: fenced }, { ours: name, theirs: `${name}, its epoch written` });
      }
    }
    const sessions = this.#many.length.toLocaleString('en-US');
    const manyMetric = `${sessions} sessions at once, histories of 10`;
    record({ metric: manyMetric, ...raw }, { ours: 'many', theirs: 'many' });
    const callers = `${this.#sizes.callers.toLocaleString('en-US')} callers of ensure() for one session`;
    record({ metric: callers, baseline: 'one caller' }, { ours: 'callers', theirs: 'one caller' });
    b.curve({
      metric: 'bringing up one cold session',
      xUnit: 'entries of history',
      unit: 'ms',
      series: [...curves].map(([name, points]) => ({ name, points })),
    });
  }

  async #ours(host: Host): Promise<Times> {
    const b: BenchRun = this.#b;
    const times: Times = new Map();
    for (const group of this.#groups) {
      const each: number[] = [];
      for (const stored of group) each.push(await this.#ensured(host, stored));
      times.set(nameOf(group[0]!), mean(each));
    }
    const { byOne, byMany } = this.#wanted;
    times.set('one caller', await this.#ensured(host, byOne));
    let answers: boolean[] = [];
    const callers = Array.from({ length: this.#sizes.callers }, () => byMany.id);
    this.#checkCold(host, [byMany]);
    times.set(
      'callers',
      await timed(async () => {
        answers = await Promise.all(callers.map((id) => host.registry.ensure(id)));
      }),
    );
    const told = answers.filter((answer) => answer).length;
    b.check(told === this.#sizes.callers, `${told} of ${this.#sizes.callers} callers were told that it is live`);
    this.#checkCold(host, this.#many);
    times.set('many', await timed(() => Promise.all(this.#many.map(({ id }) => host.registry.ensure(id)))));
    const all = [...this.#groups.flat(), byOne, byMany, ...this.#many];
    await each(all, 64, (stored) => this.#checkRestored(host, stored));
    return times;
  }

  /** Milliseconds until a session that was not in memory is live. */
  async #ensured(host: Host, stored: Stored): Promise<number> {
    this.#checkCold(host, [stored]);
    const ms = await timed(() => host.registry.ensure(stored.id));
    const state = host.registry.get(stored.id)?.state;
    this.#b.check(state === 'idle', `${stored.id} was said to be live, and is ${state}`);
    return ms;
  }

  #checkCold(host: Host, sessions: readonly Stored[]): void {
    for (const { id } of sessions) {
      this.#b.check(host.registry.get(id) === undefined, `${id} was in memory before it was asked for`);
    }
  }

  async #theirs(): Promise<Times> {
    const dataDir = this.#copy();
    const raw = new RawRestore(join(dataDir, 'cabana.db'));
    const times: Times = new Map();
    try {
      for (const { id } of this.#warm) raw.readFenced(id);
      const fenced: string[] = this.#warm.map(({ id }) => id);
      for (const group of this.#groups) {
        const name = nameOf(group[0]!);
        times.set(name, await this.#raw(group, (id) => raw.read(id)));
        if (group[0]!.history > this.#sizes.sizes[0]!) continue;
        times.set(`${name}, its epoch written`, await this.#raw(group, (id) => raw.readFenced(id)));
        fenced.push(...group.map(({ id }) => id));
      }
      times.set('many', this.#many.length * (await this.#raw(this.#many, (id) => raw.read(id))));
      for (const id of fenced) {
        const epoch = raw.epochOf(id);
        this.#b.check(epoch === EPOCH_BEFORE + 1, `raw SQLite left ${id} with the epoch ${epoch}`);
      }
    } finally {
      raw.close();
      rmSync(dataDir, { recursive: true });
    }
    return times;
  }

  /** A host that was started on a copy of the data folder: what is asked for is not in memory. */
  async #onHost<T>(work: (host: Host) => Promise<T>): Promise<T> {
    const dataDir = this.#copy();
    const host = await startHost(this.#b, { agents: [benchAgent('keeper')], dataDir });
    try {
      for (const { id } of this.#warm) await host.registry.ensure(id);
      return await work(host);
    } finally {
      await host.close();
      rmSync(dataDir, { recursive: true });
    }
  }

  /** One after the other. @returns milliseconds of one */
  async #raw(sessions: readonly Stored[], read: (id: string) => RawRestored): Promise<number> {
    const restored: RawRestored[] = [];
    const times: number[] = [];
    for (const { id } of sessions) times.push(await timed(() => restored.push(read(id))));
    for (const [k, stored] of sessions.entries()) {
      const { state, tail, sum } = restored[k]!;
      const digest = sha256((state as KeptState).bytes);
      this.#check(stored, { sha256: digest, restores: 1, tail, sum, historySeq: stored.history });
    }
    return mean(times);
  }

  #copy(): string {
    const dataDir = `${this.#template}-${this.#copies++}`;
    mkdirSync(dataDir);
    copyFileSync(this.#template, join(dataDir, 'cabana.db'));
    return dataDir;
  }

  /** It was restored once, and has its state and its tail. */
  async #checkRestored(host: Host, stored: Stored): Promise<void> {
    const epoch = host.registry.get(stored.id)?.epoch;
    this.#b.check(epoch === EPOCH_BEFORE + 1, `${stored.id} was restored once (epoch ${String(epoch)})`);
    const run = await host.send(stored.id, {}).result;
    // The input of this run is in the history as well.
    const kept = run.output as Kept;
    this.#check(stored, { ...kept, historySeq: kept.historySeq - 1 });
  }

  #check({ id, history, fresh }: Stored, kept: Kept): void {
    const tail = fresh ? 0 : history;
    const b: BenchRun = this.#b;
    b.check(kept.sha256 === sha256(bytesOf(id, STATE_BYTES)), `${id} has its state`);
    b.check(kept.restores === 1, `${id} was restored ${kept.restores} times`);
    const sum = fresh ? 0 : this.#sums.get(id);
    b.check(kept.tail === tail && kept.sum === sum, `${id} has its tail of ${tail}`);
    b.check(kept.historySeq === history, `the history of ${id} has ${kept.historySeq} entries`);
  }
}

function short(name: string, count: number): Stored[] {
  return Array.from({ length: count }, (_, k) => ({ id: `${name}-${k}`, history: 10, fresh: false }));
}

function nameOf({ history, fresh }: Stored): string {
  return `${fresh ? 'fresh' : 'tail'} ${history}`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
