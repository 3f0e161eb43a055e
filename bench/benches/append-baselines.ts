// What append is measured by: the same bodies written by raw SQLite and to a plain file, this thread's own; and the check
// that both did the same work: every entry, by the same groups, each of them synced.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { RawJournal, journalLayout, writeAndSync } from '../baselines/raw-journal.js';
import { SYNCED_FROM, countSyncs } from '../durability.js';
import { median, type BenchRun } from '../harness.js';
import { tempDir } from '../support.js';

export interface BaselineRound {
  /** Entries a second, of SQLite and of the file. */
  rate: number;
  file: number;
  commitMs: number;
  /** Milliseconds of each write and sync of the file. */
  syncs: number[];
}

export class AppendBaselines {
  readonly #b: BenchRun;
  readonly #bodies: readonly Uint8Array[];
  readonly #sessions: number;
  readonly #same: RawJournal;
  readonly #all: RawJournal;
  readonly #file: string;
  #writes = 0;

  /** @param database of the product, whose layout they have */
  constructor(b: BenchRun, database: string, bodies: readonly Uint8Array[], sessions: number) {
    const dir = tempDir(b);
    const layout = journalLayout(database);
    this.#b = b;
    this.#bodies = bodies;
    this.#sessions = sessions;
    this.#same = new RawJournal(join(dir, 'same.db'), layout, sessions);
    this.#all = new RawJournal(join(dir, 'all.db'), layout, sessions);
    this.#file = join(dir, 'file');
    b.after(() => this.#same.close());
    b.after(() => this.#all.close());
  }

  /** All bodies, `group` at a time: as many as the store's commits had. */
  write(group: number): BaselineRound {
    this.#writes++;
    const commits = this.#same.write(this.#bodies, group);
    this.#checkGroups(commits.length, group, 'commits of raw SQLite');
    const { result: times, syncs } = countSyncs(() => writeAndSync(this.#file, this.#bodies, group));
    this.#checkGroups(times.length, group, 'writes of the file');
    this.#checkGroups(syncs, group, 'syncs of the file');
    return { rate: this.#rateOf(commits), commitMs: median(commits), file: this.#rateOf(times), syncs: times };
  }

  /** The same by groups of all sessions, once. @returns entries a second */
  writeAll(): number {
    const commits = this.#all.write(this.#bodies, this.#sessions);
    this.#checkGroups(commits.length, this.#sessions, 'commits by groups of all sessions');
    return this.#rateOf(commits);
  }

  /** All entries are where they were to be written: every time, by groups of all sessions once. */
  check(): void {
    const b: BenchRun = this.#b;
    const entries = this.#bodies.length;
    const bytes = this.#bodies.reduce((sum, body) => sum + body.byteLength, 0);
    for (const [what, journal, times] of [
      ['by the same group size', this.#same, this.#writes],
      ['by groups of all sessions', this.#all, 1],
    ] as const) {
      const { rows, settings } = journal;
      b.check(rows === times * entries, `${rows} rows of ${times * entries} are in the database, ${what}`);
      const { journalMode, synchronous } = settings;
      const isSynced = journalMode === 'wal' && synchronous >= SYNCED_FROM;
      b.check(isSynced, `raw SQLite, ${what}, does not sync: ${journalMode}, synchronous ${synchronous}`);
    }
    const { size } = statSync(this.#file);
    b.check(size === this.#writes * bytes, `${size} bytes of ${this.#writes * bytes} are in the file`);
  }

  #checkGroups(count: number, group: number, what: string): void {
    const expected = Math.ceil(this.#bodies.length / group);
    this.#b.check(count === expected, `${count} ${what}, instead of ${expected} of ${group} entries each`);
  }

  #rateOf(times: readonly number[]): number {
    return (1000 * this.#bodies.length) / times.reduce((sum, ms) => sum + ms, 0);
  }
}
