// What a restore reads, without Cabana: better-sqlite3 in this thread on the product's own tables, every body decoded.

import Sqlite, { type Database, type Statement } from 'better-sqlite3';
import { decodeEntry, decodeState } from '../../src/protocol/codec.js';

interface SessionSql {
  key: number;
  epoch: number;
  stats: string;
}

interface BodySql {
  seq: number;
  body: Uint8Array;
}

export interface RawRestored {
  state: unknown;
  /** Entries after the snapshot, and the sum of their `i`. */
  tail: number;
  sum: number;
}

export class RawRestore {
  readonly #db: Database;
  readonly #session: Statement<[string], SessionSql>;
  readonly #lastSeq: Statement<[number], { seq: number }>;
  readonly #snapshot: Statement<[number], BodySql>;
  readonly #entries: Statement<[number, number], BodySql>;
  readonly #setEpoch: Statement<[number, number]>;

  constructor(path: string) {
    this.#db = new Sqlite(path);
    // As a restore of the product has it: an epoch does not wait for the disk.
    this.#db.pragma('synchronous = NORMAL');
    this.#db.pragma('cache_size = -65536');
    this.#session = this.#db.prepare('SELECT * FROM sessions WHERE id = ? AND deleted_at IS NULL');
    this.#lastSeq = this.#db.prepare('SELECT seq FROM journal WHERE session = ? ORDER BY seq DESC LIMIT 1');
    this.#snapshot = this.#db.prepare('SELECT seq, body FROM snapshots WHERE session = ?');
    this.#entries = this.#db.prepare(
      'SELECT seq, at, kind, crc, body FROM journal WHERE session = ? AND seq >= ? ORDER BY seq',
    );
    this.#setEpoch = this.#db.prepare('UPDATE sessions SET epoch = ? WHERE key = ?');
  }

  read(id: string): RawRestored {
    return this.#read(this.#session.get(id)!);
  }

  /** The same, and a new epoch written in the same transaction. */
  readFenced(id: string): RawRestored {
    this.#db.exec('BEGIN IMMEDIATE');
    const session = this.#session.get(id)!;
    const restored = this.#read(session);
    this.#setEpoch.run(session.epoch + 1, session.key);
    this.#db.exec('COMMIT');
    return restored;
  }

  epochOf(id: string): number {
    return this.#session.get(id)!.epoch;
  }

  #read({ key, stats }: SessionSql): RawRestored {
    JSON.parse(stats);
    this.#lastSeq.get(key);
    const snapshot = this.#snapshot.get(key)!;
    const restored: RawRestored = { state: decodeState(snapshot.body), tail: 0, sum: 0 };
    for (const { body } of this.#entries.all(key, snapshot.seq + 1)) {
      restored.tail++;
      restored.sum += Number(decodeEntry(body)['i']);
    }
    return restored;
  }

  close(): void {
    this.#db.close();
  }
}
