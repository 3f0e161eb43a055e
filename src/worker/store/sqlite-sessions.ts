// The sessions table: records, listing and search. Writes happen inside the transaction of sqlite-store.ts.

import type { Database, Statement } from 'better-sqlite3';
import { decodeValue, encodeValue } from '../../protocol/codec.js';
import { CabanaError } from '../../protocol/errors.js';
import { fold } from '../../protocol/fold.js';
import { LIST_LIMIT_DEFAULT_ROWS } from '../../protocol/limits.js';
import type { SessionUpdate } from '../../protocol/control.js';
import {
  emptyStats,
  profileOf,
  sourceOf,
  type ListQuery,
  type RecordPage,
  type SessionRecord,
  type SessionStats,
} from '../../protocol/session.js';

export interface SessionRowSql {
  key: number;
  id: string;
  name: string | null;
  source: string;
  agent_profile: string | null;
  working_dir: string | null;
  params: Uint8Array;
  pinned: number;
  created_at: string;
  updated_at: string;
  stats: string;
  epoch: number;
  quarantine: string | null;
  deleted_at: number | null;
}

const COLUMNS =
  'key, id, name, source, agent_profile, working_dir, params, pinned, created_at, updated_at, stats, epoch, quarantine, deleted_at';

/** Between name and id in `folded`, so that no match spans the two. */
const SEPARATOR = '\u0001';
const UNSEARCHABLE = /[\0\u0001]/;
/** A search looks this many of the newest rows over before it asks the trigram index. */
const SCAN_ROWS = 2000;
/** Trigrams are three characters: a shorter `q` has none. */
const TRIGRAM_CHARS = 3;

export class SqliteSessions {
  readonly #db: Database;
  readonly #statements = new Map<string, Statement<unknown[], unknown>>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** Statements are prepared once; the texts are built from fixed parts, so that their number is bounded. */
  #prepare<Row>(sql: string): Statement<unknown[], Row> {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare<unknown[], unknown>(sql);
      this.#statements.set(sql, statement);
    }
    return statement as Statement<unknown[], Row>;
  }

  insert(record: SessionRecord): number {
    const taken = this.#prepare('SELECT 1 FROM sessions WHERE id = ?').get(record.sessionId);
    if (taken)
      throw new CabanaError('SESSION_EXISTS', `session ${record.sessionId} exists, or existed and was deleted`);
    const folded = foldedText(record.name, record.sessionId);
    const { lastInsertRowid } = this.#prepare(
      `INSERT INTO sessions (id, name, source, agent_profile, kind, working_dir, params, pinned, created_at, updated_at,
        folded, stats, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
    ).run(
      record.sessionId,
      record.name,
      sourceOf(record),
      record.agentProfile,
      kindOf(record),
      record.workingDir,
      encodeValue(record.params, 'params'),
      record.pinned ? 1 : 0,
      record.createdAt,
      record.updatedAt,
      folded,
      JSON.stringify(record.stats),
    );
    const key = Number(lastInsertRowid);
    this.#prepare('INSERT INTO sessions_fts (rowid, folded) VALUES (?, ?)').run(key, folded);
    return key;
  }

  /** The row of a session that was not deleted. */
  find(id: string): SessionRowSql | undefined {
    return this.#prepare<SessionRowSql>(`SELECT ${COLUMNS} FROM sessions WHERE id = ? AND deleted_at IS NULL`).get(id);
  }

  setEpoch(key: number, epoch: number): void {
    this.#prepare('UPDATE sessions SET epoch = ? WHERE key = ?').run(epoch, key);
  }

  /** @param at when the session did something; null: it was only saved */
  setStats(key: number, stats: SessionStats, at: number | null): void {
    const updatedAt = at === null ? null : new Date(at).toISOString();
    this.#prepare('UPDATE sessions SET stats = ?, updated_at = coalesce(?, updated_at) WHERE key = ?').run(
      JSON.stringify(stats),
      updatedAt,
      key,
    );
  }

  update(id: string, fields: SessionUpdate, at: number): SessionRecord | null {
    const row = this.find(id);
    if (!row) return null;
    if (fields.name !== undefined) this.rename(row.key, id, fields.name, at);
    if (fields.pinned !== undefined) {
      this.#prepare('UPDATE sessions SET pinned = ?, updated_at = ? WHERE key = ?').run(
        fields.pinned ? 1 : 0,
        new Date(at).toISOString(),
        row.key,
      );
    }
    if (fields.quarantine !== undefined) {
      this.#prepare('UPDATE sessions SET quarantine = ? WHERE key = ?').run(fields.quarantine, row.key);
    }
    return toRecord(this.find(id)!);
  }

  rename(key: number, id: string, name: string | null, at: number): void {
    const folded = foldedText(name, id);
    this.#prepare('UPDATE sessions SET name = ?, folded = ?, updated_at = ? WHERE key = ?').run(
      name,
      folded,
      new Date(at).toISOString(),
      key,
    );
    this.#prepare('DELETE FROM sessions_fts WHERE rowid = ?').run(key);
    this.#prepare('INSERT INTO sessions_fts (rowid, folded) VALUES (?, ?)').run(key, folded);
  }

  /** Leaves a tombstone: the id, a higher epoch, and nothing that a list or a search could find. */
  bury(row: SessionRowSql, epoch: number, at: number): void {
    this.#prepare(
      `UPDATE sessions SET deleted_at = ?, epoch = ?, name = NULL, folded = '', params = x'', stats = '{}',
        working_dir = NULL WHERE key = ?`,
    ).run(at, epoch, row.key);
    this.#prepare('DELETE FROM sessions_fts WHERE rowid = ?').run(row.key);
  }

  /** As if it had never been: a session that could not be brought up when it was created. */
  erase(row: SessionRowSql): void {
    this.#prepare('DELETE FROM sessions WHERE key = ?').run(row.key);
    this.#prepare('DELETE FROM sessions_fts WHERE rowid = ?').run(row.key);
  }

  nextToPurge(): number | undefined {
    return this.#prepare<{ key: number }>(
      'SELECT key FROM sessions WHERE deleted_at IS NOT NULL AND purged = 0 LIMIT 1',
    ).get()?.key;
  }

  markPurged(key: number): void {
    this.#prepare('UPDATE sessions SET purged = 1 WHERE key = ?').run(key);
  }

  cronCount(): number {
    return this.#prepare<{ n: number }>(
      `SELECT count(*) AS n FROM sessions WHERE source = 'cron' AND deleted_at IS NULL`,
    ).get()!.n;
  }

  newest(n: number): string[] {
    // One index step per source and row, however many sessions there are: SQLite cannot skip-scan by itself.
    const ids: string[] = [];
    const next = this.#prepare<{ source: string }>(
      'SELECT source FROM sessions WHERE deleted_at IS NULL AND source > ? ORDER BY source LIMIT 1',
    );
    const page = this.#prepare<{ id: string }>(
      'SELECT id FROM sessions WHERE deleted_at IS NULL AND source = ? ORDER BY created_at DESC, id DESC LIMIT ?',
    );
    for (let found = next.get(''); found; found = next.get(found.source)) {
      for (const row of page.all(found.source, n)) ids.push(row.id);
    }
    return ids;
  }

  // --- listing

  page(query: ListQuery): RecordPage {
    const limit = query.limit ?? LIST_LIMIT_DEFAULT_ROWS;
    const filter = new Filter(query);
    const firstPage = query.before === undefined;
    const pinned =
      firstPage && (query.includePinned ?? true) ? this.#select(filter.with('pinned = 1'), query.q, null) : [];
    const others = this.#select(filter.with('pinned = 0').before(query.before), query.q, limit + 1);
    const hasMore = others.length > limit;
    if (hasMore) others.pop();
    const last = others.at(-1);
    return {
      records: [...pinned, ...others].map(toListed),
      hasMore,
      nextBefore: hasMore && last ? `${last.created_at},${last.id}` : null,
    };
  }

  /** Whether all pinned sessions are among those that a search looks over anyway. */
  #fewPinned(): boolean {
    const { n } = this.#prepare<{ n: number }>(
      `SELECT count(*) AS n FROM (SELECT 1 FROM sessions WHERE deleted_at IS NULL AND pinned = 1 LIMIT ${SCAN_ROWS + 1})`,
    ).get()!;
    return n <= SCAN_ROWS;
  }

  #select(filter: Filter, q: string | undefined, limit: number | null): SessionRowSql[] {
    const order = 'ORDER BY created_at DESC, id DESC';
    const bound = limit ?? -1;
    if (q === undefined || q === '') {
      const sql = `SELECT ${COLUMNS} FROM sessions WHERE ${filter.sql} ${order} LIMIT ?`;
      return this.#prepare<SessionRowSql>(sql).all(...filter.values, bound);
    }
    const needle = fold(q);
    // No name or id holds these (foldedText leaves them out), and SQLite's texts end at a NUL.
    if (UNSEARCHABLE.test(needle)) return [];
    const grams = trigramsOf(needle);
    // A common text fills the page from the newest rows; a rare one has few matches in the trigram index, which then
    // need sorting. Neither reads the whole table.
    const few = limit === null && q !== undefined && this.#fewPinned();
    if (limit !== null || few) {
      const recent = `SELECT * FROM (SELECT ${COLUMNS}, folded FROM sessions WHERE ${filter.sql} ${order} LIMIT ?)
        WHERE instr(folded, ?) > 0 LIMIT ?`;
      const scan = grams.length === 0 ? -1 : SCAN_ROWS;
      const rows = this.#prepare<SessionRowSql>(recent).all(...filter.values, scan, needle, bound);
      if (rows.length === limit || scan === -1 || few) return rows;
    }
    if (grams.length === 0) {
      const sql = `SELECT ${COLUMNS} FROM sessions WHERE ${filter.sql} AND instr(folded, ?) > 0 ${order} LIMIT ?`;
      return this.#prepare<SessionRowSql>(sql).all(...filter.values, needle, bound);
    }
    // The plus signs keep SQLite from walking a whole index of sessions and testing each for a match: the matches lead.
    const sql = `SELECT ${COLUMNS} FROM sessions WHERE key IN (SELECT rowid FROM sessions_fts WHERE sessions_fts MATCH ?)
      AND ${filter.sqlUnindexed} AND instr(folded, ?) > 0 ${order} LIMIT ?`;
    return this.#prepare<SessionRowSql>(sql).all(grams.join(' AND '), ...filter.values, needle, bound);
  }
}

/** The filters of a query as SQL, each one served by an index. */
class Filter {
  readonly #parts: readonly string[];
  readonly values: readonly unknown[];

  constructor(query: ListQuery | { parts: readonly string[]; values: readonly unknown[] }) {
    if ('parts' in query) {
      this.#parts = query.parts;
      this.values = query.values;
      return;
    }
    const parts = ['deleted_at IS NULL'];
    const values: unknown[] = [];
    if (query.type !== undefined) {
      parts.push('kind = ?');
      values.push(query.type === 'coding' ? 'coding' : `s:${query.type}`);
    }
    if (query.date !== undefined) {
      // A range, which the index serves, instead of a LIKE.
      parts.push('created_at >= ?', 'created_at < ?');
      values.push(query.date, `${query.date}~`);
    }
    this.#parts = parts;
    this.values = values;
  }

  get sql(): string {
    return this.#parts.join(' AND ');
  }

  /** The same, served by no index. */
  get sqlUnindexed(): string {
    return this.#parts.map((part) => (part.startsWith('(') ? part : `+${part}`)).join(' AND ');
  }

  with(part: string, ...values: readonly unknown[]): Filter {
    return new Filter({ parts: [...this.#parts, part], values: [...this.values, ...values] });
  }

  /** `before`: an instant, or `instant,id` as a page's nextBefore has it. */
  before(before: string | undefined): Filter {
    if (before === undefined) return this;
    const [instant, id] = before.split(',');
    return id === undefined
      ? this.with('created_at < ?', instant)
      : this.with('(created_at, id) < (?, ?)', instant, id);
  }
}

/** What the type filter compares; a source that is called 'coding' does not collide with the profile. */
function kindOf(record: SessionRecord): string {
  return profileOf(record) === 'coding' ? 'coding' : `s:${sourceOf(record)}`;
}

function foldedText(name: string | null, id: string): string {
  return `${fold(name ?? '').replaceAll(new RegExp(UNSEARCHABLE, 'g'), '')}${SEPARATOR}${fold(id)}`;
}

/** The trigrams of a text as terms of an FTS query; none if it is too short. */
function trigramsOf(text: string): string[] {
  const characters = [...text];
  const grams = new Set<string>();
  for (let i = 0; i + TRIGRAM_CHARS <= characters.length; i++) {
    grams.add(
      `"${characters
        .slice(i, i + TRIGRAM_CHARS)
        .join('')
        .replaceAll('"', '""')}"`,
    );
  }
  return [...grams];
}

export function toRecord(row: SessionRowSql): SessionRecord {
  return { ...toListed(row), params: decodeValue(row.params) as Record<string, unknown> };
}

/** A record as lists need it: without params, which may be large. A damaged stats cell costs its own figures alone. */
function toListed(row: SessionRowSql): SessionRecord {
  return {
    sessionId: row.id,
    name: row.name,
    source: row.source,
    agentProfile: row.agent_profile,
    workingDir: row.working_dir,
    params: {},
    pinned: row.pinned === 1,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    quarantine: row.quarantine,
    stats: toStats(row.stats),
  };
}

export function toStats(json: string): SessionStats {
  try {
    return { ...emptyStats(), ...(JSON.parse(json) as Partial<SessionStats>) };
  } catch {
    return { ...emptyStats(), error: 'the stored figures of this session are damaged', errorCode: 'STORE_CORRUPT' };
  }
}
