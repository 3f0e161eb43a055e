// append: how many durable entries a second the journal takes from 1 to 1,000 sessions, and how soon an agent knows.
//
// That the store syncs is checked by durability.ts. That an agent is told no sooner than its entry is synced is checked
// twice: by time (half of the entries must not be known sooner than the disk syncs a file that a group's bytes were
// appended to), and by a look at the database from the agent as soon as it is told.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeEntry } from '../../src/protocol/codec.js';
import type { Host } from '../../src/main/index.js';
import { epochNow, type AppendInput, type Appended } from '../agents/appender.js';
import { median, quantile, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, each, startHost, tempDir } from '../support.js';
import { AppendBaselines } from './append-baselines.js';
import { checkAppended } from './append-database.js';
import { checkCommits, checkTimes, logCommits } from './append-timing.js';

const ENTRY_BYTES = 1024;
/** How long the runs have to begin, before the first entry. */
const LEAD_MS = 50;
const LEAD_MS_PER_SESSION = 0.5;
/** Of a bare sync's time, which wobbles. */
const SYNC_SHARE = 0.8;
/** Entries of each session that are looked for on disk at once. */
const LOOKED_FOR = 20;

const SIZES = [
  { sessions: 1, entries: 2_000 },
  { sessions: 10, entries: 4_000 },
  { sessions: 100, entries: 20_000 },
  { sessions: 1_000, entries: 40_000 },
];

type Point = { x: number; y: number };

export const append: Bench = {
  name: 'append',
  question:
    'How many durable entries a second does the journal take, and how soon does an agent know that one is durable?',
  async run(b) {
    const rates: Record<'ours' | 'same' | 'all' | 'file', Point[]> = { ours: [], same: [], all: [], file: [] };
    const acks: Record<'p50' | 'p99', Point[]> = { p50: [], p99: [] };
    const sizes = b.smoke
      ? [
          { sessions: 1, entries: 20 },
          { sessions: 10, entries: 40 },
        ]
      : SIZES;
    for (const size of sizes) {
      const bench = await Appending.start(b, size.sessions, size.entries / size.sessions);
      const figures = await bench.compare();
      const x = bench.sessions;
      for (const name of ['ours', 'same', 'all', 'file'] as const) rates[name].push({ x, y: figures[name] });
      acks.p50.push({ x, y: figures.p50 });
      acks.p99.push({ x, y: figures.p99 });
      await bench.checkWritten();
      await bench.checkDatabase(size);
    }
    b.curve({
      metric: 'durable entries of 1 KB',
      xUnit: 'sessions appending',
      unit: 'entries/s',
      series: [
        { name: 'Cabana', points: rates.ours },
        { name: 'raw SQLite, the same group size', points: rates.same },
        { name: 'raw SQLite, groups of all sessions', points: rates.all },
        { name: 'raw write and fdatasync, the same group size', points: rates.file },
      ],
    });
    b.curve({
      metric: 'from append to durable',
      xUnit: 'sessions appending',
      unit: 'ms',
      series: [
        { name: 'p50', points: acks.p50 },
        { name: 'p99', points: acks.p99 },
      ],
    });
  },
};

interface Figures {
  ours: number;
  same: number;
  all: number;
  file: number;
  p50: number;
  p99: number;
}

interface Round {
  /** Entries a second. */
  rate: number;
  ackMs: number[];
  /** Entries a commit. */
  group: number;
}

class Appending {
  readonly #b: BenchRun;
  readonly #host: Host;
  readonly #dataDir: string;
  readonly #ids: string[];
  /** Entries of each session a round. */
  readonly #entries: number;
  readonly #bodies: Uint8Array[];
  #runs = 0;
  /** The `i` of every entry that each session has appended so far. */
  readonly #appended: number[] = [];
  /** Of the store's commits in the last round. */
  #groupSize = 1;

  private constructor(b: BenchRun, host: Host, dataDir: string, ids: string[], entries: number) {
    this.#b = b;
    this.#host = host;
    this.#dataDir = dataDir;
    this.#ids = ids;
    this.#entries = entries;
    const content = 'x'.repeat(ENTRY_BYTES);
    this.#bodies = Array.from({ length: ids.length * entries }, (_, n) =>
      encodeEntry({ role: 'assistant', content, i: Math.floor(n / ids.length) }),
    );
  }

  static async start(b: BenchRun, sessions: number, entries: number): Promise<Appending> {
    const dataDir = tempDir(b);
    const host = await startHost(b, { agents: [benchAgent('appender')], threads: 2, dataDir });
    const ids = Array.from({ length: sessions }, (_, k) => `append-${k}`);
    await each(ids, 64, (sessionId) => host.create({ sessionId, agentProfile: 'appender' }));
    return new Appending(b, host, dataDir, ids, entries);
  }

  get sessions(): number {
    return this.#ids.length;
  }

  async compare(): Promise<Figures> {
    const b: BenchRun = this.#b;
    const sessions = this.#ids.length;
    const metric = `durable 1 KB entries, ${sessions.toLocaleString('en-US')} session${sessions > 1 ? 's' : ''}`;
    const baselines = new AppendBaselines(b, join(this.#dataDir, 'cabana.db'), this.#bodies, sessions);
    const rounds = await b.alternate(
      metric,
      () => this.#round(),
      () => baselines.write(this.#groupSize),
    );
    const allRate = baselines.writeAll();
    baselines.check();
    const bySame = b.record(
      {
        metric,
        unit: 'entries/s',
        baseline: 'raw SQLite, the same group size',
        // With one session there is nothing to group, and the way there and back counts: that is the figure below.
        ...(sessions > 1 ? { target: { of: 'ratio', is: 'at least', limit: 0.8 } as const } : {}),
      },
      rounds.map(({ ours, theirs }) => ({ value: ours.rate, baseline: theirs.rate })),
    );
    const byFile = b.record(
      { metric, unit: 'entries/s', baseline: 'raw write and fdatasync, the same group size' },
      rounds.map(({ ours, theirs }) => ({ value: ours.rate, baseline: theirs.file })),
    );
    b.recordValues(
      { metric: `entries a commit, ${sessions.toLocaleString('en-US')} sessions`, unit: 'entries' },
      rounds.map(({ ours }) => ours.group),
    );
    const acks = rounds.flatMap(({ ours }) => ours.ackMs);
    const p50 = quantile(acks, 0.5);
    const p99 = quantile(acks, 0.99);
    this.#checkSynced(p50, Math.min(...rounds.flatMap(({ theirs }) => theirs.syncs)));
    if (sessions === 1) {
      this.#recordOne(rounds.map(({ ours, theirs }) => ({ value: median(ours.ackMs), baseline: theirs.commitMs })));
    } else {
      const what = `append to durable, ${sessions.toLocaleString('en-US')} sessions`;
      b.recordValues({ metric: `${what}, p50`, unit: 'ms' }, [p50]);
      b.recordValues({ metric: `${what}, p99`, unit: 'ms' }, [p99]);
    }
    return {
      ours: bySame.value,
      same: bySame.baseline!,
      all: allRate,
      file: byFile.baseline!,
      p50,
      p99,
    };
  }

  /** The time of one entry, against one commit. */
  #recordOne(rounds: { value: number; baseline: number }[]): void {
    this.#b.record(
      {
        metric: 'append to durable, one entry at a time, p50',
        unit: 'ms',
        baseline: 'raw SQLite commit of one row',
        target: { of: 'ratio', is: 'at most', limit: 1.5 },
      },
      rounds,
    );
  }

  /** @param sync the quickest bare sync measured: other processes can only slow a sync down, so it is a lower bound */
  #checkSynced(durableMs: number, sync: number): void {
    const times = `an entry is durable after ${durableMs} ms, a sync takes ${sync} ms`;
    this.#b.checkTime(durableMs >= SYNC_SHARE * sync, `${times}: nothing was synced`);
  }

  get #leadMs(): number {
    return LEAD_MS + LEAD_MS_PER_SESSION * this.#ids.length;
  }

  /**
   * Every session appends `entries` entries, beginning together.
   * @param database in which they are looked for
   */
  async #send(entries: number, startAt: number, database?: string): Promise<Appended[]> {
    const input: AppendInput = { entries, bytes: ENTRY_BYTES, startAt, ...(database && { database }) };
    const runs = await Promise.all(this.#ids.map((id) => this.#host.send(id, input).result));
    this.#runs++;
    for (let i = 0; i < entries; i++) this.#appended.push(i);
    return runs.map((run) => {
      this.#b.check(run.state === 'completed', `a run ended ${run.state}: ${run.error}`);
      const appended = run.output as Appended;
      const known = appended.ackMs.length;
      this.#b.check(known === entries, `${known} of ${entries} entries of a run were acknowledged`);
      return appended;
    });
  }

  /** Every session appends its share, all at once. */
  async #round(): Promise<Round> {
    const startAt = epochNow() + this.#leadMs;
    // By then all runs have begun: what is committed from here on are entries, and the ends of those that have them all.
    const begun = sleep(startAt - epochNow()).then(() => this.#host.storage());
    const [runs, before] = await Promise.all([this.#send(this.#entries, startAt), begun]);
    checkTimes(this.#b, runs, startAt);
    let endAt = 0;
    const ackMs: number[] = [];
    for (const appended of runs) {
      endAt = Math.max(endAt, appended.endAt);
      for (const ms of appended.ackMs) ackMs.push(ms);
    }
    const { commits, operations } = this.#host.storage();
    const group = Math.round((operations - before.operations) / (commits - before.commits));
    this.#groupSize = Math.min(this.#ids.length, Math.max(1, group));
    return { rate: (1000 * this.#bodies.length) / (endAt - startAt), ackMs, group: this.#groupSize };
  }

  /** A round that is not timed, in which each entry is looked for on disk as soon as it is acknowledged, and each commit. */
  async checkWritten(): Promise<void> {
    const path = join(this.#dataDir, 'cabana.db');
    const before = { counted: this.#host.storage().commits, log: logCommits(path) };
    const written = await this.#send(Math.min(LOOKED_FOR, this.#entries), epochNow() + this.#leadMs, path);
    const early = written.reduce((sum, { unwritten }) => sum + unwritten, 0);
    this.#b.check(early === 0, `${early} entries were acknowledged before they were committed`);
    await checkCommits(this.#b, this.#host, path, before);
  }

  /** @param sessions that were asked for */
  async checkDatabase({ sessions }: { sessions: number }): Promise<void> {
    await this.#host.close();
    checkAppended(this.#b, join(this.#dataDir, 'cabana.db'), {
      sessions,
      runs: this.#runs,
      entries: this.#appended,
      bytes: ENTRY_BYTES,
    });
  }
}
