// SQLite's write-ahead log: when it is brought into the database, and when it is synced.
//
// A checkpoint happens between two commits, when those who waited for the first have been told; SQLite by itself would
// do it within a commit, and more often. While the host drains it is left to the next start, so that what is flushed is
// written once before the process ends and not twice.

import { closeSync, fdatasyncSync, fstatSync, openSync, statSync } from 'node:fs';
import Sqlite, { type Database } from 'better-sqlite3';
import { CabanaError, messageOf } from '../../protocol/errors.js';
import { CHECKPOINT_DRAINING_FROM_BYTES, CHECKPOINT_FROM_BYTES, LOG_KEPT_MAX_BYTES } from '../../protocol/limits.js';
import type { WriteOp } from './store.js';

/** What an operation adds to the log beside its bytes: a part of an index page, or the whole of one. */
const OP_LOG_BYTES = 2048;
/** SQLite's own checkpoint, within a commit: for writes that are not counted here, and where the estimate is too low. */
const AUTO_CHECKPOINT_PAGES = 8192;

export class WriteAheadLog {
  readonly #db: Database;
  readonly #path: string;
  readonly #pageBytes: number;
  /** For sync(). The file stays the same while the database is open. */
  readonly #file: number;
  /** Of the database, when it was opened. */
  readonly #inode: number;
  /** What is in it, by estimate: SQLite tells it only when it checkpoints. */
  #bytes: number;
  #draining = false;
  #unsynced = false;

  /** @param path of the database, which is open, has its tables, in WAL mode with synchronous = FULL */
  constructor(db: Database, path: string, pageBytes: number) {
    this.#db = db;
    this.#path = path;
    this.#pageBytes = pageBytes;
    this.#bytes = statSync(`${path}-wal`).size;
    this.#file = openSync(`${path}-wal`, 'r');
    this.#inode = statSync(path).ino;
    db.pragma(`wal_autocheckpoint = ${AUTO_CHECKPOINT_PAGES}`);
    db.pragma(`journal_size_limit = ${LOG_KEPT_MAX_BYTES}`);
  }

  /**
   * After a commit, before anybody is told of it. Another program that opens the database removes the log when it takes
   * itself for the last one. It does so if SQLite's locks are gone, which the kernel drops as soon as code of this
   * process has opened a file of the data folder and closed it again. What is written to a removed log is lost with the
   * process; so it is brought into the database, and nothing more is acknowledged. Neither is anything that goes into a
   * database which is no longer in its place.
   * @throws CabanaError STORE_IO
   */
  assertThere(): void {
    // By its path: closing a file of the database would drop SQLite's locks.
    if (statSync(this.#path, { throwIfNoEntry: false })?.ino !== this.#inode) {
      throw new CabanaError('STORE_IO', 'another program has removed or replaced the database');
    }
    if (fstatSync(this.#file).nlink > 0) return;
    let cause: unknown;
    try {
      this.checkpoint();
    } catch (error) {
      // Whatever it is, a full disk too: what was committed must not be tried again as if it had been refused.
      cause = error;
    }
    throw new CabanaError(
      'STORE_IO',
      'another program has removed the log of the database; code of this process must not open files of the data folder',
      { cause },
    );
  }

  /** Counts what a commit has added. */
  grew(ops: readonly WriteOp[]): void {
    this.#bytes += 2 * this.#pageBytes;
    for (const op of ops) this.#bytes += OP_LOG_BYTES + bytesOf(op);
  }

  get checkpointDue(): boolean {
    return this.#bytes >= (this.#draining ? CHECKPOINT_DRAINING_FROM_BYTES : CHECKPOINT_FROM_BYTES);
  }

  /** The disk is full: a log that is checkpointed is written from its start again, which may be the room that is missing. */
  checkpointSoon(): void {
    this.#bytes = Infinity;
  }

  checkpoint(): void {
    this.#bytes = 0;
    this.#db.pragma('wal_checkpoint(PASSIVE)');
  }

  drain(): void {
    this.#draining = true;
    this.#db.pragma('wal_autocheckpoint = 0');
  }

  /** Whether there is a commit that a loss of power could undo. */
  get unsynced(): boolean {
    return this.#unsynced;
  }

  /** @throws CabanaError STORE_IO: what was committed may be lost */
  sync(): void {
    try {
      fdatasyncSync(this.#file);
    } catch (error) {
      throw new CabanaError('STORE_IO', `the log could not be synced: ${messageOf(error)}`, { cause: error });
    }
    this.#unsynced = false;
  }

  /**
   * A commit wrote something under synchronous = FULL: its sync covered every earlier commit too. (A commit that writes
   * nothing does not sync.)
   */
  wasSynced(): void {
    this.#unsynced = false;
  }

  /** Commits without waiting for the disk: the process may die at once, the machine not before the next sync. */
  withoutSync<T>(commit: () => T): T {
    // Not by pragma(), which makes an object of each statement: this is the path of every restore and every run.
    this.#db.exec('PRAGMA synchronous = NORMAL');
    try {
      return commit();
    } finally {
      this.#db.exec('PRAGMA synchronous = FULL');
      this.#unsynced = true;
    }
  }

  /** Syncs what is left and closes the database with its log. @throws CabanaError STORE_IO; it is closed all the same */
  close(): void {
    try {
      if (this.#unsynced) this.sync();
    } finally {
      closeSync(this.#file);
      const witness = this.#draining && this.#bytes >= CHECKPOINT_FROM_BYTES ? this.#witness() : null;
      this.#db.close();
      witness?.close();
    }
  }

  /**
   * Keeps db.close() from checkpointing. SQLite checkpoints when the last connection closes; with this one open the
   * writer is not the last, and this one is read-only and cannot checkpoint.
   */
  #witness(): Database | null {
    try {
      const db = new Sqlite(this.#path, { readonly: true });
      db.prepare('SELECT 1 FROM sessions LIMIT 1').get();
      return db;
    } catch {
      // Then the log is checkpointed after all.
      return null;
    }
  }
}

function bytesOf(op: WriteOp): number {
  switch (op.kind) {
    case 'append':
    case 'save':
      return op.body.byteLength;
    case 'end':
      return op.entry.byteLength + (op.output?.byteLength ?? 0) + (op.snapshot?.byteLength ?? 0);
    case 'accept':
      return op.input.byteLength;
    default:
      return 0;
  }
}
