// The runs table: what was sent, what became of it. Writes happen inside the transaction of sqlite-store.ts.

import { crc32 } from 'node:zlib';
import type { Database, Statement } from 'better-sqlite3';
import type { PendingRun, RunTerms, StoredRun } from '../../protocol/control.js';
import { profileOf, type RunState } from '../../protocol/session.js';
import type { SessionRowSql } from './sqlite-sessions.js';

interface RunSql {
  run_id: string;
  state: RunState;
  input_seq: number;
  attempts: number;
  started_at: number | null;
  ended_at: number | null;
  output: Uint8Array | null;
  /** Of the output. */
  crc: number | null;
  error: string | null;
  code: string | null;
}

interface OpenRunSql extends RunSql {
  session: number;
  id: string;
  agent_profile: string | null;
  timeout_ms: number | null;
  priority: number;
}

/** Of a run that was sent without any. */
const NO_TERMS: RunTerms = { timeoutMs: null, priority: 0 };

type RunOwner = Pick<SessionRowSql, 'key' | 'id'>;

/** How a run ended; `output` is what it returned, encoded. */
export interface StoredEnding {
  state: RunState;
  at: number;
  output: Uint8Array | null;
  error: string | null;
  code: string | null;
}

export class SqliteRuns {
  readonly #sql: ReturnType<typeof prepare>;

  constructor(db: Database) {
    this.#sql = prepare(db);
  }

  insert({ key, id }: RunOwner, runId: string, inputSeq: number, terms = NO_TERMS): StoredRun {
    this.#sql.insert.run(key, runId, inputSeq, terms.timeoutMs, terms.priority);
    const ended = { output: null, error: null, code: null, endedAt: null };
    return { sessionId: id, runId, state: 'queued', inputSeq, startedAt: null, attempts: 0, ...ended };
  }

  /** A queued run is running from now on; any other stays as it is. */
  start(key: number, runId: string, at: number): void {
    this.#sql.start.run(at, key, runId);
  }

  /** An open run has ended. @returns what it is now */
  end(key: number, run: StoredRun, { state, at, output, error, code }: StoredEnding): StoredRun {
    this.#sql.end.run(state, at, output, output && crc32(output), error, code, key, run.runId);
    return { ...run, state, endedAt: at, output, error, code };
  }

  /** Puts the run back in line, to be started again. It keeps its input and what it journaled. */
  putBack(key: number, runId: string): void {
    this.#sql.putBack.run(key, runId);
  }

  /** The same, as if it had not been started: a retry is not a resume, whose number `attempts` bounds. */
  takeBack(key: number, runId: string): void {
    this.#sql.takeBack.run(key, runId);
  }

  find({ key, id }: RunOwner, runId: string): StoredRun | null {
    const row = this.#sql.find.get(key, runId);
    return row ? toRun(id, row) : null;
  }

  /** The entries that are the inputs of runs which have not started. */
  queuedInputs(key: number): number[] {
    return this.#sql.queuedInputs.all(key).map((run) => run.input_seq);
  }

  /** The entries from seq `from` on that are the inputs of runs which ended without having started. */
  neverStartedInputs(key: number, from: number): number[] {
    return this.#sql.neverStartedInputs.all(key, from).map((run) => run.input_seq);
  }

  /** The queued and the running, of all sessions, in the order in which they came. */
  open(): (PendingRun & { key: number })[] {
    return this.#sql.open.all().map((row) => ({
      key: row.session,
      run: toRun(row.id, row),
      terms: { timeoutMs: row.timeout_ms, priority: row.priority },
      agentProfile: profileOf({ agentProfile: row.agent_profile }),
    }));
  }

  /** Removes up to `rows` runs of a deleted session, fewer if their outputs are more than `bytes`: how many there were. */
  purge(key: number, rows: number, bytes: number): number {
    return purgeBySize(this.#sql.toPurge.all(key, rows), bytes, (id) => this.#sql.purge.run(id));
  }
}

/** A row that is to be removed, and the size of its large column. */
export interface Sized {
  id: number;
  bytes: number;
}

/** Removes rows until they are this large together, one at least. @returns how many */
export function purgeBySize(rows: readonly Sized[], bytes: number, remove: (id: number) => void): number {
  let purged = 0;
  for (let left = bytes; purged < rows.length && left > 0; purged++) {
    remove(rows[purged]!.id);
    left -= rows[purged]!.bytes;
  }
  return purged;
}

const COLUMNS = 'run_id, state, input_seq, attempts, started_at, ended_at, output, crc, error, code';

function prepare(db: Database) {
  const sql = <P extends unknown[], R = never>(text: string): Statement<P, R> => db.prepare<P, R>(text);
  return {
    insert: sql<[number, string, number, number | null, number]>(
      `INSERT INTO runs (session, run_id, state, input_seq, attempts, timeout_ms, priority)
        VALUES (?, ?, 'queued', ?, 0, ?, ?)`,
    ),
    start: sql<[number, number, string]>(
      `UPDATE runs SET state = 'running', started_at = ?, attempts = attempts + 1
        WHERE session = ? AND run_id = ? AND state = 'queued'`,
    ),
    end: sql<[RunState, number, Uint8Array | null, number | null, string | null, string | null, number, string]>(
      `UPDATE runs SET state = ?, ended_at = ?, output = ?, crc = ?, error = ?, code = ?
        WHERE session = ? AND run_id = ? AND state IN ('queued', 'running')`,
    ),
    putBack: sql<[number, string]>(`UPDATE runs SET state = 'queued' WHERE session = ? AND run_id = ?`),
    // One that is queued was not started: it has no attempt to give back.
    takeBack: sql<[number, string]>(
      `UPDATE runs SET attempts = attempts - (state = 'running'), state = 'queued' WHERE session = ? AND run_id = ?`,
    ),
    find: sql<[number, string], RunSql>(`SELECT ${COLUMNS} FROM runs WHERE session = ? AND run_id = ?`),
    // The first condition is that of the index runs_open.
    queuedInputs: sql<[number], { input_seq: number }>(
      `SELECT input_seq FROM runs WHERE session = ? AND state IN ('queued', 'running') AND state = 'queued'`,
    ),
    // The conditions of the index runs_never_started.
    neverStartedInputs: sql<[number, number], { input_seq: number }>(
      'SELECT input_seq FROM runs WHERE session = ? AND input_seq >= ? AND started_at IS NULL AND ended_at IS NOT NULL',
    ),
    open: sql<[], OpenRunSql>(
      `SELECT r.session, s.id, s.agent_profile, r.timeout_ms, r.priority, ${COLUMNS}
        FROM runs r INDEXED BY runs_open JOIN sessions s ON s.key = r.session
        WHERE r.state IN ('queued', 'running') AND s.deleted_at IS NULL ORDER BY r.id`,
    ),
    toPurge: sql<[number, number], Sized>(
      'SELECT id, coalesce(length(output), 0) AS bytes FROM runs WHERE session = ? LIMIT ?',
    ),
    purge: sql<[number]>('DELETE FROM runs WHERE id = ?'),
  };
}

/** A damaged output costs itself alone: the run is over all the same, and says why there is none. */
function toRun(sessionId: string, row: RunSql): StoredRun {
  const damaged = row.output !== null && row.crc !== null && crc32(row.output) !== row.crc;
  return {
    sessionId,
    runId: row.run_id,
    state: row.state,
    inputSeq: row.input_seq,
    output: damaged ? null : row.output,
    error: damaged ? `the output of run ${row.run_id} of session ${sessionId} does not match its checksum` : row.error,
    code: damaged ? 'STORE_CORRUPT' : row.code,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    attempts: row.attempts,
  };
}
