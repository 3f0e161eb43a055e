// The journal, snapshots and runs: what an agent's life writes. Runs inside the transaction of sqlite-store.ts.

import { crc32 } from 'node:zlib';
import type { Database, Statement } from 'better-sqlite3';
import type { StoredRun } from '../../protocol/control.js';
import { CabanaError } from '../../protocol/errors.js';
import { ENTRY_KIND, type EntryRow, type Loaded } from '../../protocol/journal.js';
import { instantMs } from '../../protocol/instant.js';
import { ENTRIES_PAGE_MAX_BYTES, TAIL_PAGE_ROWS } from '../../protocol/limits.js';
import { isTerminal, profileOf, parseStats, type SessionStats } from '../../protocol/session.js';
import { Heads } from './heads.js';
import { unlessDamaged } from './sqlite-errors.js';
import { SqliteRuns, purgeBySize, type Sized } from './sqlite-runs.js';
import { toRecord, type SessionRowSql, type SqliteSessions } from './sqlite-sessions.js';
import type { Head, WriteOp, Written } from './store.js';

interface EntrySql {
  seq: number;
  at: number;
  kind: number;
  crc: number;
  body: Uint8Array;
}

interface SnapshotSql {
  seq: number;
  waiting: string | null;
  crc: number;
  body: Uint8Array;
}

type Op<K extends WriteOp['kind']> = Extract<WriteOp, { kind: K }>;

export class SqliteJournal {
  readonly heads = new Heads();
  readonly runs: SqliteRuns;
  readonly #sessions: SqliteSessions;
  readonly #sql: ReturnType<typeof prepare>;

  constructor(db: Database, sessions: SqliteSessions) {
    this.#sessions = sessions;
    this.runs = new SqliteRuns(db);
    this.#sql = prepare(db);
  }

  // --- an activation's operations

  load({ sessionId }: Op<'load'>): Written {
    const row = this.#sessions.find(sessionId);
    if (!row) return { loaded: null };
    const known = this.heads.of(sessionId);
    const epoch = Math.max(row.epoch, known?.epoch ?? 0) + 1;
    // Before anything is written, so that damage costs this session alone.
    const { loaded, seq } = unlessDamaged(row.id, () => {
      const last = known?.seq ?? this.lastSeq(row.key);
      return { loaded: this.#read(row, epoch, last), seq: last };
    });
    this.#sessions.setEpoch(row.key, epoch);
    const head: Head = { sessionId, key: row.key, epoch, n: 0, seq };
    this.heads.put(head);
    return { loaded, head };
  }

  #read(row: SessionRowSql, epoch: number, seq: number): Loaded {
    const key = row.key;
    const snapshot = this.#sql.snapshot.get(key);
    if (snapshot) verify(snapshot, () => `the snapshot of session ${row.id}`);
    if (snapshot && snapshot.seq > seq) throw missing(seq + 1, row.id);
    // An input that was journaled before the snapshot, for a run that started after it, is news to the saved state.
    const waited = snapshot?.waiting ? (JSON.parse(snapshot.waiting) as number[]) : [];
    const from = (snapshot?.seq ?? 0) + 1;
    const neverStarted = this.runs.neverStartedInputs(key, Math.min(from, ...waited));
    const unstarted = new Set([...this.runs.queuedInputs(key), ...neverStarted]);
    const tail = waited.filter((s) => !unstarted.has(s)).flatMap((s) => this.entries(key, s, 1));
    // A long tail is read bit by bit, so that it does not hold up everybody's commits.
    const page = seq < from ? [] : this.entries(key, from, TAIL_PAGE_ROWS);
    for (const entry of page) if (!unstarted.has(entry.seq)) tail.push(entry);
    const last = page.at(-1)?.seq ?? seq;
    const rest = last < seq ? { from: last + 1, without: [...unstarted] } : null;
    return { key, epoch, record: toRecord(row), snapshot: snapshot?.body ?? null, tail, rest, seq };
  }

  append(op: Op<'append'>): Written {
    const head = this.heads.fenced(op, 1);
    return this.#add(head, ENTRY_KIND.agent, op.at, op.body);
  }

  start(op: Op<'start'>): Written {
    const head = this.heads.fenced(op, 0);
    this.runs.start(head.key, op.runId, op.at);
    return { head };
  }

  end(op: Op<'end'>): Written {
    const head = this.heads.fenced(op, 1);
    const known = this.runs.find({ key: head.key, id: head.sessionId }, op.runId);
    if (known && isTerminal(known.state)) {
      // Main has ended it: it has its outcome, and gets no second one. The thread has counted an entry all the same.
      head.n += 1;
      return { head };
    }
    const written = this.#add(head, ENTRY_KIND.outcome, op.at, op.entry);
    const ended = known && this.runs.end(head.key, known, op);
    this.#sessions.setStats(head.key, op.stats, op.at);
    if (op.snapshot) this.#snapshot(head, op.at, op.snapshot);
    return ended ? { ...written, ended } : written;
  }

  save(op: Op<'save'>): Written {
    const head = this.heads.fenced(op, 0);
    this.#snapshot(head, op.at, op.body);
    if (op.stats) this.#sessions.setStats(head.key, op.stats, null);
    return { head };
  }

  rename(op: Op<'rename'>): Written {
    const head = this.heads.fenced(op, 0);
    // Names in a burst are written late (worker/naming.ts): a user may have named the session since.
    if (op.calledAt < (head.namedAt ?? 0)) return { head };
    this.#sessions.rename(head.key, head.sessionId, op.name, op.at);
    return { head };
  }

  release({ sessionId, epoch }: Op<'release'>): Written {
    if (epoch === null || this.heads.of(sessionId)?.epoch === epoch) this.heads.drop(sessionId);
    return {};
  }

  // --- main's operations

  accept(op: Op<'accept'>): Written {
    const row = this.#sessions.find(op.sessionId);
    if (!row) throw new CabanaError('SESSION_NOT_FOUND', `there is no session ${op.sessionId}`);
    const agentProfile = profileOf({ agentProfile: row.agent_profile });
    const known = this.runs.find(row, op.runId);
    if (known) return { accepted: { run: known, isNew: false, agentProfile } };
    if (row.quarantine !== null) {
      throw new CabanaError('SESSION_QUARANTINED', `session ${op.sessionId} is quarantined: ${row.quarantine}`);
    }
    const written = this.#addFor(row, ENTRY_KIND.input, op.at, op.input);
    const run = this.runs.insert(row, op.runId, written.entry!.seq, op.terms);
    return { ...written, accepted: { run, isNew: true, agentProfile } };
  }

  update({ sessionId, fields, at }: Op<'update'>): Written {
    const record = this.#sessions.update(sessionId, fields, at);
    if (!record) return { updated: null };
    const instant = instantMs();
    const head = fields.name === undefined ? undefined : this.heads.change(sessionId);
    if (head) head.namedAt = instant;
    return { updated: { record, instant } };
  }

  endRun(op: Op<'endRun'>): Written {
    const row = this.#sessions.find(op.sessionId);
    const run = row && this.runs.find(row, op.runId);
    if (!row || !run) throw new CabanaError('RUN_NOT_FOUND', `session ${op.sessionId} has no run ${op.runId}`);
    if (isTerminal(run.state)) return { ended: run };
    if (run.state === 'running') this.#fenceOff(row);
    const written = this.#addFor(row, ENTRY_KIND.outcome, op.at, op.entry);
    const ended = this.runs.end(row.key, run, { ...op, output: null });
    this.#sessions.setStats(row.key, statsAfter(run, op, parseStats(row.stats)), op.at);
    return { ...written, ended };
  }

  requeue(op: Op<'requeue'>): Written {
    const row = this.#sessions.find(op.sessionId);
    const run = row && this.runs.find(row, op.runId);
    if (!row || !run || isTerminal(run.state)) return { requeued: false };
    if (op.ifUnstarted && run.state !== 'queued') return { requeued: false };
    this.#fenceOff(row);
    this.runs.takeBack(row.key, op.runId);
    return { requeued: true };
  }

  remove(op: Op<'remove'>): Written {
    const row = this.#sessions.find(op.sessionId);
    if (!row) return { removed: false };
    const epoch = this.#fenceOff(row);
    if (op.erase) this.#sessions.erase(row, epoch, op.at);
    else this.#sessions.bury(row, epoch, op.at);
    this.#sql.deleteSnapshot.run(row.key);
    this.heads.drop(row.id);
    return { removed: true };
  }

  /** A new epoch that nobody has: whatever the activation still sends is stale. */
  #fenceOff(row: SessionRowSql): number {
    const head = this.heads.change(row.id);
    const epoch = Math.max(row.epoch, head?.epoch ?? 0) + 1;
    if (head) head.epoch = epoch;
    this.#sessions.setEpoch(row.key, epoch);
    return epoch;
  }

  // --- reads

  entries(key: number, from: number, limit: number): EntryRow[] {
    const page = this.#page(key, this.#sql.entriesFrom.iterate(key, from, limit));
    if (page.length > 0) this.#assertWhole(key, page, Math.max(from, 1));
    return page;
  }

  entriesBefore(key: number, before: number | null, limit: number): EntryRow[] {
    const rows = this.#sql.entriesBefore.iterate(key, before ?? Number.MAX_SAFE_INTEGER, limit);
    const page = this.#page(key, rows).reverse();
    if (page.length > 0) this.#assertWhole(key, page, page[0]!.seq);
    return page;
  }

  /** A history has no gaps: if there is one, the table or its index is damaged, which SQLite does not notice by itself. */
  #assertWhole(key: number, page: readonly EntryRow[], first: number): void {
    const gap = page.findIndex((row, i) => row.seq !== first + i);
    if (gap !== -1) throw missing(first + gap, this.#sessions.idOf(key));
  }

  lastSeq(key: number): number {
    return this.#sql.lastSeq.get(key)?.seq ?? 0;
  }

  /** As many as make a page, at least one. */
  #page(key: number, rows: Iterable<EntrySql>): EntryRow[] {
    const page: EntrySql[] = [];
    let bytes = 0;
    for (const row of rows) {
      bytes += row.body.byteLength;
      if (page.length > 0 && bytes > ENTRIES_PAGE_MAX_BYTES) break;
      page.push(row);
    }
    return page.map((row) => this.#entry(key, row));
  }

  #entry(key: number, row: EntrySql): EntryRow {
    verify(row, () => `entry ${row.seq} of session ${this.#sessions.idOf(key)}`);
    return { seq: row.seq, at: row.at, kind: row.kind, body: row.body };
  }

  /**
   * Removes entries and runs of a deleted session: up to `rows` of each, fewer if those are more than `bytes`, but at least
   * one. False: there were none.
   */
  purge(key: number, rows: number, bytes: number): boolean {
    const entries = purgeBySize(this.#sql.toPurge.all(key, rows), bytes, (id) => this.#sql.purge.run(id));
    return entries + this.runs.purge(key, rows, bytes) > 0;
  }

  // --- the journal itself

  #add(head: Head, kind: number, at: number, body: Uint8Array): Written {
    head.n += 1;
    head.seq += 1;
    this.#sql.append.run(head.key, head.seq, head.epoch, kind, at, crc32(body), body);
    return { head, sessionId: head.sessionId, entry: { seq: head.seq, at, kind, body } };
  }

  /** An entry of the host's, to a session that may be in memory or not. */
  #addFor(row: SessionRowSql, kind: number, at: number, body: Uint8Array): Written {
    const head = this.heads.change(row.id);
    const seq = (head?.seq ?? this.lastSeq(row.key)) + 1;
    if (head) head.seq = seq;
    this.#sql.append.run(row.key, seq, head?.epoch ?? row.epoch, kind, at, crc32(body), body);
    return { ...(head ? { head } : {}), sessionId: row.id, entry: { seq, at, kind, body } };
  }

  #snapshot(head: Head, at: number, body: Uint8Array): void {
    const waiting = this.runs.queuedInputs(head.key);
    const json = waiting.length > 0 ? JSON.stringify(waiting) : null;
    this.#sql.putSnapshot.run(head.key, head.seq, head.epoch, at, json, crc32(body), body);
  }
}

/**
 * Of a run that had begun the last error is its own, or none: an earlier run's was over when it began, which the thread
 * would have stored with its end.
 */
function statsAfter(run: StoredRun, { state, error, code }: Op<'endRun'>, before: SessionStats): SessionStats {
  const hadBegun = run.state === 'running';
  const stats = hadBegun ? { ...before, totalTasks: before.totalTasks + 1 } : before;
  if (state === 'failed') return { ...stats, error, errorCode: code };
  return hadBegun ? { ...stats, error: null, errorCode: null } : stats;
}

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
    // SQLite knows a body's length without reading it.
    toPurge: sql<[number, number], Sized>('SELECT id, length(body) AS bytes FROM journal WHERE session = ? LIMIT ?'),
    purge: sql<[number]>('DELETE FROM journal WHERE id = ?'),
  };
}

/** @throws CabanaError STORE_CORRUPT, naming what is damaged */
function verify(row: { crc: number; body: Uint8Array }, what: () => string): void {
  if (crc32(row.body) !== row.crc) throw new CabanaError('STORE_CORRUPT', `${what()} does not match its checksum`);
}

function missing(seq: number, sessionId: string): CabanaError {
  return new CabanaError('STORE_CORRUPT', `entry ${seq} of session ${sessionId} is missing`);
}
