// The store on SQLite: one connection, WAL, one transaction per commit(), synchronous=FULL for whatever is acknowledged.

import Sqlite, { type Database, type Statement } from 'better-sqlite3';
import { encodeEntry } from '../../protocol/codec.js';
import { CabanaError } from '../../protocol/errors.js';
import type { EntryRow } from '../../protocol/journal.js';
import { outcomeEntry } from '../../protocol/outcome.js';
import type { ListedPage } from '../../protocol/record-page.js';
import type { ListQuery, SessionRecord } from '../../protocol/session.js';
import type { RecoverRequest, Recovered, StoredRun } from '../../protocol/control.js';
import { migrate } from './schema.js';
import { storeError } from './sqlite-errors.js';
import { SqliteJournal } from './sqlite-journal.js';
import { SqliteList } from './sqlite-list.js';
import { SqliteSessions, toRecord } from './sqlite-sessions.js';
import { Statements } from './statements.js';
import type { OpResult, Store, WriteOp, Written } from './store.js';
import { WriteAheadLog } from './write-ahead-log.js';

/** Of a new database; an older one keeps its own. A snapshot of some KB takes fewer, an index step is as quick. */
const PAGE_BYTES = 8192;
/**
 * Rows of deleted sessions that are removed at a time, and bytes in them, so that a purge never holds up a commit for
 * long: to remove a large body SQLite reads all of its pages. At least one row.
 */
const PURGE_ROWS = 500;
const PURGE_BYTES = 8 * 1024 * 1024;

export interface SqliteOptions {
  /** Pages of the database at most; beyond it the disk counts as full. For tests of a full disk. */
  maxPages?: number;
  /** Newest rows that a search looks over before it asks its index. For tests of the index with few sessions. */
  scanRows?: number;
  /** Something that lists show changes: called within its commit, before which no page is read any more. */
  onListChange?: () => void;
}

export class SqliteStore implements Store {
  readonly #db: Database;
  readonly #sessions: SqliteSessions;
  readonly #list: SqliteList;
  readonly #journal: SqliteJournal;
  readonly #begin: Statement;
  readonly #commit: Statement;
  readonly #log: WriteAheadLog;

  /** @throws CabanaError STORE_SCHEMA, STORE_IO, naming the path */
  constructor(path: string, options: SqliteOptions = {}) {
    try {
      this.#db = new Sqlite(path);
      this.#db.pragma(`page_size = ${PAGE_BYTES}`);
      this.#db.pragma('journal_mode = WAL');
      this.#db.pragma('synchronous = FULL');
      this.#db.pragma('temp_store = MEMORY');
      this.#db.pragma('cache_size = -65536');
      migrate(this.#db);
      this.#log = new WriteAheadLog(this.#db, path, PAGE_BYTES);
      if (options.maxPages !== undefined) this.#db.pragma(`max_page_count = ${options.maxPages}`);
      this.#begin = this.#db.prepare('BEGIN IMMEDIATE');
      this.#commit = this.#db.prepare('COMMIT');
      const statements = new Statements(this.#db);
      this.#sessions = new SqliteSessions(statements, options.onListChange ?? (() => undefined));
      this.#list = new SqliteList(statements, options.scanRows);
      this.#journal = new SqliteJournal(this.#db, this.#sessions);
    } catch (error) {
      const { code, message } = storeError(error);
      throw new CabanaError(code, `the database ${path} cannot be opened: ${message}`, { cause: error });
    }
  }

  async commit(ops: readonly WriteOp[]): Promise<OpResult[]> {
    const write = () => this.#transaction(() => ops.map((op) => this.#apply(op)));
    const results = ops.every(mayBeUndone) ? this.#log.withoutSync(write) : write();
    this.#log.assertThere();
    if (results.some(isEntry)) this.#log.wasSynced();
    this.#log.grew(ops);
    return results;
  }

  get upkeepDue(): boolean {
    return this.#log.checkpointDue;
  }

  async upkeep(): Promise<void> {
    this.#guarded(() => this.#log.checkpoint());
  }

  drain(): void {
    this.#log.drain();
  }

  get unsynced(): boolean {
    return this.#log.unsynced;
  }

  async sync(): Promise<void> {
    this.#guarded(() => this.#log.sync());
  }

  /** Everything or nothing, with the heads in step. */
  #transaction<T>(work: () => T): T {
    if (!this.#db.open) throw closed();
    try {
      this.#begin.run();
      const result = work();
      this.#commit.run();
      this.#journal.heads.keep();
      return result;
    } catch (error) {
      this.#journal.heads.undo();
      // SQLite has rolled back by itself after some errors (a full disk among them).
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      const failure = storeError(error);
      if (failure.code === 'STORE_FULL') this.#log.checkpointSoon();
      throw failure;
    }
  }

  /** A refusal is this operation's own; it is decided before the operation writes anything. */
  #apply(op: WriteOp): OpResult {
    try {
      return { ok: this.#write(op) };
    } catch (error) {
      if (error instanceof CabanaError) return { error };
      throw error;
    }
  }

  #write(op: WriteOp): Written {
    switch (op.kind) {
      case 'append':
        return this.#journal.append(op);
      case 'start':
        return this.#journal.start(op);
      case 'end':
        return this.#journal.end(op);
      case 'save':
        return this.#journal.save(op);
      case 'rename':
        return this.#journal.rename(op);
      case 'load':
        return this.#journal.load(op);
      case 'release':
        return this.#journal.release(op);
      case 'accept':
        return this.#journal.accept(op);
      case 'endRun':
        return this.#journal.endRun(op);
      case 'requeue':
        return this.#journal.requeue(op);
      case 'remove':
        return this.#journal.remove(op);
      case 'create':
        this.#sessions.insert(op.record);
        return {};
      case 'update':
        return this.#journal.update(op);
      default:
        return op satisfies never;
    }
  }

  async recover({ profiles, resumeProfiles, maxResumes, at }: RecoverRequest): Promise<Recovered> {
    return this.#transaction(() => {
      const recovery: Recovered = { pending: [], interrupted: 0 };
      for (const { key, run, terms, agentProfile } of this.#journal.runs.open()) {
        // What becomes of it is its profile's to say: the next start that knows the profile settles it.
        if (!profiles.includes(agentProfile)) {
          recovery.pending.push({ run, terms, agentProfile });
          continue;
        }
        const resumes = resumeProfiles.includes(agentProfile) && run.attempts <= maxResumes;
        if (run.state === 'queued' || resumes) {
          if (run.state === 'running') this.#journal.runs.putBack(key, run.runId);
          recovery.pending.push({ run: { ...run, state: 'queued' }, terms, agentProfile });
          continue;
        }
        const end = {
          state: 'interrupted',
          error: 'The process ended while this run was running',
          code: 'RUN_CUT_OFF',
        } as const;
        const entry = encodeEntry(outcomeEntry(run.runId, end));
        this.#journal.endRun({ kind: 'endRun', sessionId: run.sessionId, runId: run.runId, ...end, entry, at });
        recovery.interrupted++;
      }
      return recovery;
    });
  }

  async record(sessionId: string): Promise<SessionRecord | null> {
    return this.#guarded(() => {
      const row = this.#sessions.find(sessionId);
      return row ? toRecord(row) : null;
    });
  }

  async keyOf(sessionId: string): Promise<number | null> {
    return this.#guarded(() => this.#sessions.find(sessionId))?.key ?? null;
  }

  async page(query: ListQuery): Promise<ListedPage> {
    return this.#guarded(() => this.#list.page(query));
  }

  async newest(n: number, max: number): Promise<string[]> {
    return this.#guarded(() => this.#sessions.newest(n, max));
  }

  async cronCount(): Promise<number> {
    return this.#guarded(() => this.#sessions.cronCount());
  }

  async entries(key: number, from: number, limit: number): Promise<EntryRow[]> {
    return this.#guarded(() => this.#journal.entries(key, from, limit));
  }

  async entriesBefore(key: number, before: number | null, limit: number): Promise<EntryRow[]> {
    return this.#guarded(() => this.#journal.entriesBefore(key, before, limit));
  }

  async lastSeq(key: number): Promise<number> {
    return this.#guarded(() => this.#journal.lastSeq(key));
  }

  async run(sessionId: string, runId: string): Promise<StoredRun | null> {
    return this.#guarded(() => {
      const row = this.#sessions.find(sessionId);
      return row ? this.#journal.runs.find(row, runId) : null;
    });
  }

  async purge(): Promise<boolean> {
    return this.#transaction(() => {
      const key = this.#sessions.nextToPurge();
      if (key === undefined) return false;
      if (!this.#journal.purge(key, PURGE_ROWS, PURGE_BYTES)) this.#sessions.markPurged(key);
      return true;
    });
  }

  async close(): Promise<void> {
    if (!this.#db.open) return;
    this.#guarded(() => this.#log.close());
  }

  /** What SQLite throws leaves the store as a CabanaError. */
  #guarded<T>(read: () => T): T {
    if (!this.#db.open) throw closed();
    try {
      return read();
    } catch (error) {
      throw storeError(error);
    }
  }
}

/**
 * Operations whose commit need not wait for the disk: an epoch taken, a run started. The death of the process cannot
 * undo them; a power failure can, but it also ends every activation that held the epoch. Nothing written under a lost
 * epoch survives without it: later commits are synced, and a sync covers the whole log before it.
 */
function mayBeUndone(op: WriteOp): boolean {
  return op.kind === 'load' || op.kind === 'start';
}

function isEntry(result: OpResult): boolean {
  return 'ok' in result && result.ok.entry !== undefined;
}

function closed(): CabanaError {
  return new CabanaError('HOST_CLOSED', 'the host was closed');
}
