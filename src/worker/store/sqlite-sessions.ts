// The sessions table: records, and what is searched of them. Writes happen inside the transaction of sqlite-store.ts.

import { decodeValue, encodeValue } from '../../protocol/codec.js';
import { CabanaError } from '../../protocol/errors.js';
import { fold } from '../../protocol/fold.js';
import type { SessionUpdate } from '../../protocol/control.js';
import {
  nonDefaultStats,
  parseStats,
  profileOf,
  sourceOf,
  type SessionRecord,
  type SessionStats,
} from '../../protocol/session.js';
import { INDEX_ONE, SEARCH_MAX_KEY, SEPARATOR, UNINDEX_ONE, UNSEARCHABLE } from './sqlite-search.js';
import type { Statements } from './statements.js';

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

/** The row of a new session. Its terms in the search index are written beside it. */
export const INSERT_SESSION = {
  sql: `INSERT INTO sessions (id, name, source, agent_profile, kind, working_dir, params, pinned, created_at, updated_at,
    folded, stats, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
  values: (record: SessionRecord): unknown[] => [
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
    foldedText(record.name, record.sessionId),
    JSON.stringify(nonDefaultStats(record.stats)),
  ],
};

/** Prefix of the id that erase() leaves, before the key: no valid id contains it. */
const ERASED = '\u0000';

export class SqliteSessions {
  readonly #statements: Statements;
  readonly #onChange: () => void;

  /** @param onChange something that a list shows is about to change, in the transaction that is open */
  constructor(statements: Statements, onChange: () => void) {
    this.#statements = statements;
    this.#onChange = onChange;
  }

  insert(record: SessionRecord): void {
    const taken = this.#statements.get('SELECT 1 FROM sessions WHERE id = ?').get(record.sessionId);
    if (taken)
      throw new CabanaError('SESSION_EXISTS', `session ${record.sessionId} exists, or existed and was deleted`);
    this.#onChange();
    const { lastInsertRowid } = this.#statements.get(INSERT_SESSION.sql).run(...INSERT_SESSION.values(record));
    // A RangeError, not a CabanaError: it must fail the whole transaction, not just refuse this operation.
    if (lastInsertRowid > SEARCH_MAX_KEY) throw new RangeError('the store has had as many sessions as it can number');
    this.#statements.get(INDEX_ONE).run(lastInsertRowid, lastInsertRowid);
  }

  /** The row of a session that was not deleted. */
  find(id: string): SessionRowSql | undefined {
    return this.#statements
      .get<SessionRowSql>(`SELECT ${COLUMNS} FROM sessions WHERE id = ? AND deleted_at IS NULL`)
      .get(id);
  }

  idOf(key: number): string {
    return (
      this.#statements.get<{ id: string }>('SELECT id FROM sessions WHERE key = ?').get(key)?.id ?? `number ${key}`
    );
  }

  setEpoch(key: number, epoch: number): void {
    this.#statements.get('UPDATE sessions SET epoch = ? WHERE key = ?').run(epoch, key);
  }

  /** @param at when the session did something; null: it was only saved */
  setStats(key: number, stats: SessionStats, at: number | null): void {
    this.#onChange();
    const updatedAt = at === null ? null : new Date(at).toISOString();
    this.#statements
      .get('UPDATE sessions SET stats = ?, updated_at = coalesce(?, updated_at) WHERE key = ?')
      .run(JSON.stringify(nonDefaultStats(stats)), updatedAt, key);
  }

  update(id: string, fields: SessionUpdate, at: number): SessionRecord | null {
    const row = this.find(id);
    if (!row) return null;
    this.#onChange();
    if (fields.name !== undefined) this.rename(row.key, id, fields.name, at);
    if (fields.pinned !== undefined) {
      this.#statements
        .get('UPDATE sessions SET pinned = ?, updated_at = ? WHERE key = ?')
        .run(fields.pinned ? 1 : 0, new Date(at).toISOString(), row.key);
    }
    if (fields.quarantine !== undefined) {
      this.#statements.get('UPDATE sessions SET quarantine = ? WHERE key = ?').run(fields.quarantine, row.key);
    }
    return toRecord(this.find(id)!);
  }

  rename(key: number, id: string, name: string | null, at: number): void {
    this.#onChange();
    this.#statements
      .get('UPDATE sessions SET name = ?, folded = ?, updated_at = ? WHERE key = ?')
      .run(name, foldedText(name, id), new Date(at).toISOString(), key);
    this.#statements.get(UNINDEX_ONE).run(key);
    this.#statements.get(INDEX_ONE).run(key, key);
  }

  /** Leaves a tombstone: the id, a higher epoch, and nothing that a list or a search could find. */
  bury(row: SessionRowSql, epoch: number, at: number): void {
    this.#onChange();
    this.#statements.get(UNINDEX_ONE).run(row.key);
    this.#statements
      .get(
        `UPDATE sessions SET deleted_at = ?, epoch = ?, name = NULL, folded = '', params = x'', stats = '{}',
        working_dir = NULL WHERE key = ?`,
      )
      .run(at, epoch, row.key);
  }

  /**
   * As if it had never been: a session that could not be brought up when it was created. Its id is free again; its key is
   * not, under which its start may have written.
   */
  erase(row: SessionRowSql, epoch: number, at: number): void {
    this.bury(row, epoch, at);
    this.#statements.get('UPDATE sessions SET id = ? WHERE key = ?').run(`${ERASED}${row.key}`, row.key);
  }

  nextToPurge(): number | undefined {
    return this.#statements
      .get<{ key: number }>('SELECT key FROM sessions WHERE deleted_at IS NOT NULL AND purged = 0 LIMIT 1')
      .get()?.key;
  }

  markPurged(key: number): void {
    this.#statements.get('UPDATE sessions SET purged = 1 WHERE key = ?').run(key);
  }

  cronCount(): number {
    return this.#statements
      .get<{ n: number }>(`SELECT count(*) AS n FROM sessions WHERE source = 'cron' AND deleted_at IS NULL`)
      .get()!.n;
  }

  newest(n: number, max: number): string[] {
    // One index step per source and row, however many sessions there are: SQLite cannot skip-scan by itself. And no source
    // is looked at that the bound leaves no room for: there may be as many as sessions.
    const ids: string[] = [];
    const next = this.#statements.get<{ source: string }>(
      'SELECT source FROM sessions WHERE deleted_at IS NULL AND source > ? ORDER BY source LIMIT 1',
    );
    const page = this.#statements.get<{ id: string }>(
      'SELECT id FROM sessions WHERE deleted_at IS NULL AND source = ? ORDER BY created_at DESC, id DESC LIMIT ?',
    );
    for (let found = next.get(''); found && ids.length < max; found = next.get(found.source)) {
      for (const row of page.all(found.source, Math.min(n, max - ids.length))) ids.push(row.id);
    }
    return ids;
  }
}

/** What the type filter compares; a source that is called 'coding' does not collide with the profile. */
function kindOf(record: SessionRecord): string {
  return profileOf(record) === 'coding' ? 'coding' : `s:${sourceOf(record)}`;
}

function foldedText(name: string | null, id: string): string {
  return `${fold(name ?? '').replaceAll(new RegExp(UNSEARCHABLE, 'g'), '')}${SEPARATOR}${fold(id)}`;
}

export function toRecord(row: SessionRowSql): SessionRecord {
  return {
    sessionId: row.id,
    name: row.name,
    source: row.source,
    agentProfile: row.agent_profile,
    workingDir: row.working_dir,
    params: decodeValue(row.params) as Record<string, unknown>,
    pinned: row.pinned === 1,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    quarantine: row.quarantine,
    stats: parseStats(row.stats),
  };
}
