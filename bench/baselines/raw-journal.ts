// The journal's table without Cabana: better-sqlite3 in this thread, the product's own layout, page size and durability,
// rows encoded beforehand. What the store's group commit is measured by. Checkpoints are SQLite's own, as they are by
// default.

import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import Sqlite, { type Database, type Statement } from 'better-sqlite3';

/** The statements that make the product's journal, as its own database has them; its page size before them. */
export function journalLayout(productDatabase: string): string[] {
  const db = new Sqlite(productDatabase, { readonly: true });
  const pageBytes = db.pragma('page_size', { simple: true }) as number;
  const rows = db.prepare<[], { sql: string }>(`SELECT sql FROM sqlite_master WHERE tbl_name = 'journal'`).all();
  db.close();
  return [`PRAGMA page_size = ${pageBytes}`, ...rows.map((row) => row.sql)];
}

export class RawJournal {
  readonly #db: Database;
  readonly #append: Statement<[number, number, number, number, number, number, Uint8Array]>;
  readonly #begin: Statement;
  readonly #commit: Statement;
  readonly #sessions: number;
  #written = 0;

  constructor(path: string, layout: readonly string[], sessions: number) {
    this.#sessions = sessions;
    this.#db = new Sqlite(path);
    this.#db.exec(layout[0]!);
    this.#db.pragma('journal_mode = WAL');
    this.#db.pragma('synchronous = FULL');
    this.#db.pragma('temp_store = MEMORY');
    this.#db.pragma('cache_size = -65536');
    for (const statement of layout.slice(1)) this.#db.exec(statement);
    this.#append = this.#db.prepare(
      'INSERT INTO journal (session, seq, epoch, kind, at, crc, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    this.#begin = this.#db.prepare('BEGIN IMMEDIATE');
    this.#commit = this.#db.prepare('COMMIT');
  }

  /** Writes the bodies as entries of all sessions in turn, `group` a transaction. @returns milliseconds of each commit */
  write(bodies: readonly Uint8Array[], group: number): number[] {
    const times: number[] = [];
    for (let i = 0; i < bodies.length; i += group) {
      const start = performance.now();
      this.#begin.run();
      for (const body of bodies.slice(i, i + group)) {
        const session = (this.#written % this.#sessions) + 1;
        const seq = Math.floor(this.#written / this.#sessions) + 1;
        this.#append.run(session, seq, 1, 2, Date.now(), crc32(body), body);
        this.#written++;
      }
      this.#commit.run();
      times.push(performance.now() - start);
    }
    return times;
  }

  get rows(): number {
    return this.#db.prepare<[], { n: number }>('SELECT count(*) AS n FROM journal').get()!.n;
  }

  /** As the connection has them: whether a commit waits for the disk. */
  get settings(): { journalMode: string; synchronous: number } {
    const ask = (setting: string): unknown => this.#db.pragma(setting, { simple: true });
    return { journalMode: String(ask('journal_mode')), synchronous: Number(ask('synchronous')) };
  }

  close(): void {
    this.#db.close();
  }
}

/** Appends the bodies to one file, `group` a write and sync. @returns milliseconds of each */
export function writeAndSync(path: string, bodies: readonly Uint8Array[], group: number): number[] {
  const file = openSync(path, 'a');
  const times: number[] = [];
  try {
    for (let i = 0; i < bodies.length; i += group) {
      const start = performance.now();
      writeSync(file, Buffer.concat(bodies.slice(i, i + group)));
      fdatasyncSync(file);
      times.push(performance.now() - start);
    }
  } finally {
    closeSync(file);
  }
  return times;
}
