// The journal, snapshots and runs: what an agent's life writes. Runs inside the transaction of sqlite-store.ts.
//
// A head (epoch, entries appended by it, highest seq) is kept in memory for every session that is in use: this process
// alone writes the database (data-dir.ts), so the head is what the tables say. It changes only inside a transaction,
// and sqlite-store.ts puts it back if the transaction fails.

import { crc32 } from 'node:zlib';
import type { Database, Statement } from 'better-sqlite3';
import { CabanaError } from '../../protocol/errors.js';
import { ENTRY_KIND, type EntryRow, type Fence, type Loaded } from '../../protocol/journal.js';
import { TAIL_PAGE_ROWS } from '../../protocol/limits.js';
import { isTerminal, profileOf, type RunState } from '../../protocol/session.js';
import type { StoredRun } from '../../protocol/control.js';
import { toRecord, toStats, type SessionRowSql, type SqliteSessions } from './sqlite-sessions.js';
import type { Head, WriteOp, Written } from './store.js';

interface EntrySql {
  seq: number;
  at: number;
  kind: number;
  crc: number;
  body: Uint8Array;
}

interface RunSql {
  run_id: string;
  state: RunState;
  input_seq: number;
  attempts: number;
  started_at: number | null;
  ended_at: number | null;
  output: Uint8Array | null;
  error: string | null;
  code: string | null;
}

interface SnapshotSql {
  seq: number;
  waiting: string | null;
  crc: number;
  body: Uint8Array;
}

type Op<T extends WriteOp['t']> = Extract<WriteOp, { t: T }>;

export class SqliteJournal {
  readonly #sessions: SqliteSessions;
  readonly #byId = new Map<string, Head>();
  readonly #byKey = new Map<number, Head>();
  /** Heads as they were before the open transaction; null: not there. */
  readonly #undo = new Map<string, Head | null>();
  readonly #sql: ReturnType<typeof prepare>;

  constructor(db: Database, sessions: SqliteSessions) {
    this.#sessions = sessions;
    this.#sql = prepare(db);
  }

  /** The transaction is durable: its heads stand. */
  keep(): void {
    this.#undo.clear();
  }

  /** The transaction failed: the heads are as they were before it. */
  undo(): void {
    for (const [id, head] of this.#undo) {
      const current = this.#byId.get(id);
      if (current) this.#byKey.delete(current.key);
      this.#byId.delete(id);
      if (head) this.#place(head);
    }
    this.#undo.clear();
  }

  #place(head: Head): void {
    this.#byId.set(head.sessionId, head);
    this.#byKey.set(head.key, head);
  }

  /** The head as this transaction may change it. */
  #touch(head: Head): Head {
    if (!this.#undo.has(head.sessionId)) this.#undo.set(head.sessionId, { ...head });
    return head;
  }

  // --- an activation's operations

  load({ sessionId }: Op<'load'>): Written {
    const row = this.#sessions.find(sessionId);
    if (!row) return { loaded: null };
    const known = this.#byId.get(sessionId);
    if (!this.#undo.has(sessionId)) this.#undo.set(sessionId, known ? { ...known } : null);
    const epoch = Math.max(row.epoch, known?.epoch ?? 0) + 1;
    const seq = known?.seq ?? this.#lastSeq(row.key);
    const loaded = this.#read(row, epoch, seq);
    this.#sessions.setEpoch(row.key, epoch);
    const head: Head = { sessionId, key: row.key, epoch, n: 0, seq };
    this.#place(head);
    return { loaded, head };
  }

  #read(row: SessionRowSql, epoch: number, seq: number): Loaded {
    const key = row.key;
    const snapshot = this.#sql.snapshot.get(key);
    if (snapshot) verify(snapshot, `the snapshot of session ${row.id}`);
    const queued = this.#sql.queuedInputs.all(key).map((run) => run.input_seq);
    // An input that was journaled before the snapshot, for a run that started after it, is news to the saved state.
    const waited = snapshot?.waiting ? (JSON.parse(snapshot.waiting) as number[]) : [];
    const tail = waited.filter((s) => !queued.includes(s)).flatMap((s) => this.entries(key, s, 1));
    const from = (snapshot?.seq ?? 0) + 1;
    // A long tail is read bit by bit, so that it does not hold up everybody's commits.
    const page = seq < from ? [] : this.entries(key, from, TAIL_PAGE_ROWS);
    for (const entry of page) if (!queued.includes(entry.seq)) tail.push(entry);
    const last = page.at(-1)?.seq ?? seq;
    const rest = last < seq ? { from: last + 1, without: queued } : null;
    return { key, epoch, record: toRecord(row), snapshot: snapshot?.body ?? null, tail, rest, seq };
  }

  append(op: Op<'append'>): Written {
    const head = this.#fenced(op, 1);
    return this.#add(head, ENTRY_KIND.agent, op.at, op.body);
  }

  start(op: Op<'start'>): Written {
    const head = this.#fenced(op, 0);
    this.#sql.startRun.run(op.at, head.key, op.runId);
    return { head };
  }

  end(op: Op<'end'>): Written {
    const head = this.#fenced(op, 1);
    const known = this.run(head.key, head.sessionId, op.runId);
    if (known && isTerminal(known.state)) {
      // Main has ended it: it has its outcome, and gets no second one. The thread has counted an entry all the same.
      head.n += 1;
      return { head };
    }
    const written = this.#add(head, ENTRY_KIND.outcome, op.at, op.entry);
    this.#sql.endRun.run(op.state, op.at, op.output, op.error, op.code, head.key, op.runId);
    this.#sessions.setStats(head.key, op.stats, op.at);
    if (op.snapshot) this.#snapshot(head, op.at, op.snapshot);
    const ended = this.run(head.key, head.sessionId, op.runId);
    return ended ? { ...written, ended } : written;
  }

  save(op: Op<'save'>): Written {
    const head = this.#fenced(op, 0);
    this.#snapshot(head, op.at, op.body);
    if (op.stats) this.#sessions.setStats(head.key, op.stats, null);
    return { head };
  }

  rename(op: Op<'rename'>): Written {
    const head = this.#fenced(op, 0);
    this.#sessions.rename(head.key, head.sessionId, op.name, op.at);
    return { head };
  }

  release({ sessionId, epoch }: Op<'release'>): Written {
    const head = this.#byId.get(sessionId);
    if (head && (epoch === null || head.epoch === epoch)) this.#drop(sessionId);
    return {};
  }

  /** Forgets a head: whatever still comes for it is stale. */
  #drop(sessionId: string): void {
    const head = this.#byId.get(sessionId);
    if (!head) return;
    if (!this.#undo.has(sessionId)) this.#undo.set(sessionId, head);
    this.#byId.delete(sessionId);
    this.#byKey.delete(head.key);
  }

  // --- main's operations

  accept(op: Op<'accept'>): Written {
    const row = this.#sessions.find(op.sessionId);
    if (!row) throw new CabanaError('SESSION_NOT_FOUND', `there is no session ${op.sessionId}`);
    const agentProfile = profileOf({ agentProfile: row.agent_profile });
    const known = this.run(row.key, row.id, op.runId);
    if (known) return { accepted: { run: known, isNew: false, agentProfile } };
    if (row.quarantine !== null) {
      throw new CabanaError('SESSION_QUARANTINED', `session ${op.sessionId} is quarantined: ${row.quarantine}`);
    }
    const written = this.#addFor(row, ENTRY_KIND.input, op.at, op.input);
    this.#sql.insertRun.run(row.key, op.runId, written.entry!.seq);
    return { ...written, accepted: { run: this.run(row.key, row.id, op.runId)!, isNew: true, agentProfile } };
  }

  endRun(op: Op<'endRun'>): Written {
    const row = this.#sessions.find(op.sessionId);
    const run = row && this.run(row.key, row.id, op.runId);
    if (!row || !run) throw new CabanaError('RUN_NOT_FOUND', `session ${op.sessionId} has no run ${op.runId}`);
    if (isTerminal(run.state)) return { ended: run };
    if (run.state === 'running') this.#fenceOff(row);
    const written = this.#addFor(row, ENTRY_KIND.outcome, op.at, op.entry);
    this.#sql.endRun.run(op.state, op.at, null, op.error, op.code, row.key, op.runId);
    if (op.state === 'failed') {
      this.#sessions.setStats(row.key, { ...toStats(row.stats), error: op.error, errorCode: op.code }, op.at);
    }
    return { ...written, ended: this.run(row.key, row.id, op.runId)! };
  }

  requeue(op: Op<'requeue'>): Written {
    const row = this.#sessions.find(op.sessionId);
    const run = row && this.run(row.key, row.id, op.runId);
    if (!row || !run || isTerminal(run.state)) return { requeued: false };
    if (op.unstarted && run.state !== 'queued') return { requeued: false };
    this.#fenceOff(row);
    this.putBack(row.key, op.runId);
    return { requeued: true };
  }

  remove(op: Op<'remove'>): Written {
    const row = this.#sessions.find(op.sessionId);
    if (!row) return { removed: false };
    const epoch = this.#fenceOff(row);
    if (op.erase) this.#sessions.erase(row);
    else this.#sessions.bury(row, epoch, op.at);
    this.#sql.deleteSnapshot.run(row.key);
    this.#drop(row.id);
    return { removed: true };
  }

  /** A new epoch that nobody has: whatever the activation still sends is stale. */
  #fenceOff(row: SessionRowSql): number {
    const head = this.#byId.get(row.id);
    const epoch = Math.max(row.epoch, head?.epoch ?? 0) + 1;
    if (head) this.#touch(head).epoch = epoch;
    this.#sessions.setEpoch(row.key, epoch);
    return epoch;
  }

  /** Puts the run back in line, to be started again. It keeps its input and what it journaled. */
  putBack(key: number, runId: string): void {
    this.#sql.requeueRun.run(key, runId);
  }

  openRuns(): { key: number; run: StoredRun; agentProfile: string }[] {
    return this.#sql.openRuns.all().map((row) => ({
      key: row.session,
      run: toRun(row.id, row),
      agentProfile: profileOf({ agentProfile: row.agent_profile }),
    }));
  }

  // --- reads

  entries(key: number, from: number, limit: number): EntryRow[] {
    return this.#sql.entriesFrom.all(key, from, limit).map((row) => toEntry(key, row));
  }

  entriesBefore(key: number, before: number | null, limit: number): EntryRow[] {
    const rows = this.#sql.entriesBefore.all(key, before ?? Number.MAX_SAFE_INTEGER, limit);
    return rows.reverse().map((row) => toEntry(key, row));
  }

  run(key: number, sessionId: string, runId: string): StoredRun | null {
    const row = this.#sql.run.get(key, runId);
    return row ? toRun(sessionId, row) : null;
  }

  /** Removes up to `rows` entries and runs of a deleted session; false: there were none. */
  purge(key: number, rows: number): boolean {
    return this.#sql.purgeJournal.run(key, rows).changes + this.#sql.purgeRuns.run(key, rows).changes > 0;
  }

  // --- the journal itself

  /** The head, if the operation comes from the current activation and follows the one before it. */
  #fenced(op: Fence, adds: 0 | 1): Head {
    const head = this.#byKey.get(op.key);
    if (!head || head.epoch !== op.epoch) {
      throw new CabanaError('STALE_EPOCH', `epoch ${op.epoch} was superseded by ${head?.epoch ?? 'its release'}`);
    }
    if (op.n !== head.n + adds) {
      throw new CabanaError('JOURNAL_GAP', `entry ${op.n} of epoch ${op.epoch} does not follow entry ${head.n}`);
    }
    return this.#touch(head);
  }

  #add(head: Head, kind: number, at: number, body: Uint8Array): Written {
    head.n += 1;
    head.seq += 1;
    this.#sql.append.run(head.key, head.seq, head.epoch, kind, at, crc32(body), body);
    return { head, sessionId: head.sessionId, entry: { seq: head.seq, at, kind, body } };
  }

  /** An entry of the host's, to a session that may be in memory or not. */
  #addFor(row: SessionRowSql, kind: number, at: number, body: Uint8Array): Written {
    const head = this.#byId.get(row.id);
    if (head) this.#touch(head);
    const seq = (head?.seq ?? this.#lastSeq(row.key)) + 1;
    if (head) head.seq = seq;
    this.#sql.append.run(row.key, seq, head?.epoch ?? row.epoch, kind, at, crc32(body), body);
    return { ...(head ? { head } : {}), sessionId: row.id, entry: { seq, at, kind, body } };
  }

  #snapshot(head: Head, at: number, body: Uint8Array): void {
    const waiting = this.#sql.queuedInputs.all(head.key).map((run) => run.input_seq);
    const json = waiting.length > 0 ? JSON.stringify(waiting) : null;
    this.#sql.putSnapshot.run(head.key, head.seq, head.epoch, at, json, crc32(body), body);
  }

  #lastSeq(key: number): number {
    return this.#sql.lastSeq.get(key)?.seq ?? 0;
  }
}

const RUN_COLUMNS = 'run_id, state, input_seq, attempts, started_at, ended_at, output, error, code';

function prepare(db: Database) {
  const sql = <P extends unknown[], R = never>(text: string): Statement<P, R> => db.prepare<P, R>(text);
  return {
    append: sql<[number, number, number, number, number, number, Uint8Array]>(
      'INSERT INTO journal (session, seq, epoch, kind, at, crc, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    lastSeq: sql<[number], { seq: number }>('SELECT seq FROM journal WHERE session = ? ORDER BY seq DESC LIMIT 1'),
    entriesFrom: sql<[number, number, number], EntrySql>(
      'SELECT seq, at, kind, crc, body FROM journal WHERE session = ? AND seq >= ? ORDER BY seq LIMIT ?',
    ),
    entriesBefore: sql<[number, number, number], EntrySql>(
      'SELECT seq, at, kind, crc, body FROM journal WHERE session = ? AND seq < ? ORDER BY seq DESC LIMIT ?',
    ),
    putSnapshot: sql<[number, number, number, number, string | null, number, Uint8Array]>(
      'INSERT OR REPLACE INTO snapshots (session, seq, epoch, at, waiting, crc, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    snapshot: sql<[number], SnapshotSql>('SELECT seq, waiting, crc, body FROM snapshots WHERE session = ?'),
    deleteSnapshot: sql<[number]>('DELETE FROM snapshots WHERE session = ?'),
    insertRun: sql<[number, string, number]>(
      `INSERT INTO runs (session, run_id, state, input_seq, attempts) VALUES (?, ?, 'queued', ?, 0)`,
    ),
    startRun: sql<[number, number, string]>(
      `UPDATE runs SET state = 'running', started_at = ?, attempts = attempts + 1
        WHERE session = ? AND run_id = ? AND state = 'queued'`,
    ),
    endRun: sql<[RunState, number, Uint8Array | null, string | null, string | null, number, string]>(
      `UPDATE runs SET state = ?, ended_at = ?, output = ?, error = ?, code = ?
        WHERE session = ? AND run_id = ? AND state IN ('queued', 'running')`,
    ),
    requeueRun: sql<[number, string]>(`UPDATE runs SET state = 'queued' WHERE session = ? AND run_id = ?`),
    run: sql<[number, string], RunSql>(`SELECT ${RUN_COLUMNS} FROM runs WHERE session = ? AND run_id = ?`),
    queuedInputs: sql<[number], { input_seq: number }>(
      `SELECT input_seq FROM runs WHERE session = ? AND state IN ('queued', 'running') AND state = 'queued'`,
    ),
    openRuns: sql<[], RunSql & { session: number; id: string; agent_profile: string | null }>(
      `SELECT r.session, s.id, s.agent_profile, ${RUN_COLUMNS}
        FROM runs r INDEXED BY runs_open JOIN sessions s ON s.key = r.session
        WHERE r.state IN ('queued', 'running') AND s.deleted_at IS NULL ORDER BY r.id`,
    ),
    purgeJournal: sql<[number, number]>(
      'DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE session = ? LIMIT ?)',
    ),
    purgeRuns: sql<[number, number]>('DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE session = ? LIMIT ?)'),
  };
}

/** @throws CabanaError STORE_CORRUPT, naming what is damaged */
function verify(row: { crc: number; body: Uint8Array }, what: string): void {
  if (crc32(row.body) !== row.crc) throw new CabanaError('STORE_CORRUPT', `${what} does not match its checksum`);
}

function toEntry(key: number, row: EntrySql): EntryRow {
  verify(row, `entry ${row.seq} of session number ${key}`);
  return { seq: row.seq, at: row.at, kind: row.kind, body: row.body };
}

function toRun(sessionId: string, row: RunSql): StoredRun {
  return {
    sessionId,
    runId: row.run_id,
    state: row.state,
    inputSeq: row.input_seq,
    output: row.output,
    error: row.error,
    code: row.code,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    attempts: row.attempts,
  };
}
