// restore: what it costs to bring a cold session up, by the length of its history; many at once; and one that many want.
//
// A session with a fresh snapshot reads that alone, however long its history is. One whose process died reads every entry
// after its snapshot as well.

import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import Sqlite from 'better-sqlite3';
import { encodeEntry } from '../../src/protocol/codec.js';
import { ENTRY_KIND } from '../../src/protocol/journal.js';
import type { Host } from '../../src/main/index.js';
import { bytesOf, sha256, type Kept, type KeptState } from '../agents/keeper.js';
import { RawRestore, type RawRestored } from '../baselines/raw-restore.js';
import { timed, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, each, startHost, tempDir } from '../support.js';

const STATE_BYTES = 4 * 1024;
const ENTRY_BYTES = 128;
const EPOCH_BEFORE = 1;
/** Sessions that are brought up before anything is timed: a host that has just started runs cold code. */
const WARM_SESSIONS = 50;
/** Of a short history there are several sessions, one after the other: one by itself is over too soon. */
const REPEATS = { upTo: 1_000, count: 20 };

const TARGET = { of: 'ratio', is: 'at most', limit: 1.5 } as const;

export const restore: Bench = {
  name: 'restore',
  question: 'What does it cost to bring up a cold session, or many, or one that many want at once?',
  async run(b) {
    const bench = await Restoring.prepare(b, b.smoke ? [10] : [10, 1_000, 100_000], b.size(1_000, 20));
    await bench.histories();
    await bench.manyAtOnce();
    await bench.manyCallers(b.size(10_000, 100));
  },
};

/** A session as it is on disk: `snapshot` is fresh, or was taken before the history began. */
interface Stored {
  id: string;
  history: number;
  fresh: boolean;
}

class Restoring {
  readonly #b: BenchRun;
  readonly #template: string;
  readonly #sizes: readonly number[];
  readonly #long: readonly Stored[];
  readonly #many: readonly Stored[];
  #copies = 0;

  private constructor(b: BenchRun, template: string, sizes: readonly number[], long: Stored[], many: Stored[]) {
    this.#b = b;
    this.#template = template;
    this.#sizes = sizes;
    this.#long = long;
    this.#many = many;
  }

  /** Sessions made by a host; their histories are written where it would have written them, in a fraction of the time. */
  static async prepare(b: BenchRun, sizes: readonly number[], many: number): Promise<Restoring> {
    const dataDir = tempDir(b);
    const long = sizes.flatMap((history) =>
      Array.from({ length: b.size(history <= REPEATS.upTo ? REPEATS.count : 1, 1) }, (_, k) => [
        { id: `fresh-${history}-${k}`, history, fresh: true },
        { id: `tail-${history}-${k}`, history, fresh: false },
      ]).flat(),
    );
    const short = Array.from({ length: many }, (_, k) => ({ id: `many-${k}`, history: 10, fresh: false }));
    const warm = Array.from({ length: b.size(WARM_SESSIONS, 1) }, (_, k) => ({
      id: warmId(k),
      history: 10,
      fresh: false,
    }));
    const host = await startHost(b, { agents: [benchAgent('keeper')], dataDir });
    await each([...long, ...short, ...warm], 64, async ({ id }) => {
      await host.create({ sessionId: id, agentProfile: 'keeper' });
      const run = await host.send(id, { fill: STATE_BYTES }).result;
      b.check(run.state === 'completed', `${id} was filled`);
    });
    await host.close();
    const database = join(dataDir, 'cabana.db');
    writeHistories(database, [...long, ...short, ...warm]);
    return new Restoring(b, database, sizes, long, short);
  }

  async histories(): Promise<void> {
    const b: BenchRun = this.#b;
    const curves = new Map<string, { x: number; y: number }[]>();
    const point = (name: string, x: number, y: number): void => {
      curves.set(name, [...(curves.get(name) ?? []), { x, y }]);
    };
    for (const fresh of [true, false]) {
      for (const history of this.#sizes) {
        const stored = this.#long.filter((s) => s.history === history && s.fresh === fresh);
        const what = fresh ? 'a fresh snapshot' : 'all of it after the snapshot';
        const metric = `ensure(), history of ${history.toLocaleString('en-US')}, ${what}`;
        const plain = await b.compare(
          {
            metric,
            unit: 'ms',
            baseline: 'raw read and decode of the same rows',
            target: TARGET,
            ...(history > REPEATS.upTo ? { rounds: 3 } : {}),
          },
          () => this.#ensure(stored),
          () => this.#raw(stored, (raw, id) => raw.read(id)),
        );
        point(`Cabana, ${what}`, history, plain.value);
        point(`raw read and decode, ${what}`, history, plain.baseline!);
        // What taking a durable epoch adds is the same for every size: the least shows it best.
        if (history > this.#sizes[0]!) continue;
        await b.compare(
          { metric, unit: 'ms', baseline: 'the same, and its epoch made durable' },
          () => this.#ensure(stored),
          () => this.#raw(stored, (raw, id) => raw.readFenced(id)),
        );
      }
    }
    b.curve({
      metric: 'bringing up one cold session',
      xUnit: 'entries of history',
      unit: 'ms',
      series: [...curves].map(([name, points]) => ({ name, points })),
    });
  }

  /** One after the other. @returns milliseconds of one */
  async #ensure(sessions: readonly Stored[]): Promise<number> {
    return this.#onHost(async (host) => {
      const times: number[] = [];
      for (const { id } of sessions) times.push(await timed(() => host.registry.ensure(id)));
      for (const stored of sessions) await this.#checkRestored(host, stored);
      return mean(times);
    });
  }

  async manyAtOnce(): Promise<void> {
    const many = this.#many;
    await this.#b.compare(
      {
        metric: `${many.length.toLocaleString('en-US')} sessions at once, histories of 10`,
        unit: 'ms',
        baseline: 'raw read and decode of the same rows',
        target: TARGET,
      },
      () =>
        this.#onHost(async (host) => {
          const ms = await timed(() => Promise.all(many.map(({ id }) => host.registry.ensure(id))));
          for (const stored of many) await this.#checkRestored(host, stored);
          return ms;
        }),
      async () => many.length * (await this.#raw(many, (raw, id) => raw.read(id))),
    );
  }

  async manyCallers(callers: number): Promise<void> {
    const size = this.#sizes[1] ?? this.#sizes[0];
    const stored = this.#long.find((s) => s.history === size && !s.fresh)!;
    await this.#b.compare(
      {
        metric: `${callers.toLocaleString('en-US')} callers of ensure() for one session`,
        unit: 'ms',
        baseline: 'one caller',
      },
      () =>
        this.#onHost(async (host) => {
          let answers: boolean[] = [];
          const ms = await timed(async () => {
            answers = await Promise.all(Array.from({ length: callers }, () => host.registry.ensure(stored.id)));
          });
          this.#b.check(
            answers.every((answer) => answer),
            'every caller was told that it is live',
          );
          await this.#checkRestored(host, stored);
          return ms;
        }),
      () => this.#ensure([stored]),
    );
  }

  /** A host that was started on a copy of the data folder: what is asked for is not in memory. */
  async #onHost(work: (host: Host) => Promise<number>): Promise<number> {
    const dataDir = this.#copy();
    const host = await startHost(this.#b, { agents: [benchAgent('keeper')], dataDir });
    try {
      for (let k = 0; k < this.#b.size(WARM_SESSIONS, 1); k++) await host.registry.ensure(warmId(k));
      return await work(host);
    } finally {
      await host.close();
      rmSync(dataDir, { recursive: true });
    }
  }

  /** One after the other. @returns milliseconds of one */
  async #raw(sessions: readonly Stored[], read: (raw: RawRestore, id: string) => RawRestored): Promise<number> {
    const dataDir = this.#copy();
    const raw = new RawRestore(join(dataDir, 'cabana.db'));
    try {
      for (let k = 0; k < this.#b.size(WARM_SESSIONS, 1); k++) read(raw, warmId(k));
      const restored: RawRestored[] = [];
      const times: number[] = [];
      for (const { id } of sessions) times.push(await timed(() => restored.push(read(raw, id))));
      for (const [k, stored] of sessions.entries()) {
        const { state, tail, sum } = restored[k]!;
        const digest = sha256((state as KeptState).bytes);
        this.#check(stored, { sha256: digest, restores: 1, tail, sum, historySeq: stored.history });
      }
      return mean(times);
    } finally {
      raw.close();
      rmSync(dataDir, { recursive: true });
    }
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
    b.check(kept.tail === tail && kept.sum === (tail * (tail - 1)) / 2, `${id} has its tail of ${tail}`);
    b.check(kept.historySeq === history, `the history of ${id} has ${kept.historySeq} entries`);
  }
}

/** Gives each session its history, in the place of what the host wrote there. */
function writeHistories(database: string, sessions: readonly Stored[]): void {
  const db = new Sqlite(database);
  const key = db.prepare<[string], { key: number }>('SELECT key FROM sessions WHERE id = ?');
  const insert = db.prepare(
    'INSERT INTO journal (session, seq, epoch, kind, at, crc, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const snapshotAt = db.prepare('UPDATE snapshots SET seq = ? WHERE session = ?');
  const content = 'x'.repeat(ENTRY_BYTES);
  db.transaction(() => {
    db.exec('DELETE FROM journal');
    db.exec('DELETE FROM runs');
    for (const { id, history, fresh } of sessions) {
      const session = key.get(id)!.key;
      for (let i = 0; i < history; i++) {
        const body = encodeEntry({ role: 'assistant', content, i });
        insert.run(session, i + 1, EPOCH_BEFORE, ENTRY_KIND.agent, Date.now(), crc32(body), body);
      }
      snapshotAt.run(fresh ? history : 0, session);
    }
  })();
  db.pragma('wal_checkpoint(TRUNCATE)');
  db.close();
}

function warmId(k: number): string {
  return `warm-${k}`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
