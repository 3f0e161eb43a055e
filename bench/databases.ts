// Data folders with many sessions on disk. The schema is the store's own, and so is the statement that writes a row; it is
// done in bulk, where the store would write one by one. Each size is built once a process and shared.

import Sqlite from 'better-sqlite3';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emptyStats, type ListQuery, type SessionRecord, type SessionSource } from '../src/protocol/session.js';
import { INDEX_ALL, defineSearchTerms } from '../src/worker/store/sqlite-search.js';
import { INSERT_SESSION } from '../src/worker/store/sqlite-sessions.js';
import { SqliteStore } from '../src/worker/store/sqlite-store.js';

/** Every session's name has one of these; the last number of the list is in few names. */
const WORDS = ['invoice', 'billing', 'search', 'crawler', 'planner', 'tester', 'writer', 'reader'] as const;
export const COMMON = 'planner';
export const PINNED = 10;
const RARE_EVERY = 1_000;
const RARE_AT_MOST = 100;
export const RARE = 'zeppelin';
const FIRST_MS = Date.parse('2026-01-01T00:00:00.000Z');
/** Between one session and the next: at a million, eleven days and a half. */
const STEP_MS = 1_000;

const built = new Map<number, string>();
let root: string | undefined;

/** How many of the first `sessions` sessions have the rare word in their name. */
export function rareCount(sessions: number): number {
  return Math.min(Math.ceil(sessions / RARE_EVERY), RARE_AT_MOST);
}

export function idOf(i: number): string {
  return `session-${String(i).padStart(8, '0')}`;
}

export function createdAt(i: number): string {
  return new Date(FIRST_MS + i * STEP_MS).toISOString();
}

function nameOf(i: number): string {
  const rare = i % RARE_EVERY === 0 && i / RARE_EVERY < RARE_AT_MOST;
  return `${WORDS[i % WORDS.length]} ${rare ? RARE : 'task'} ${i}`;
}

function sourceOf(i: number): SessionSource {
  return i % 5 === 0 ? 'cron' : 'manual';
}

/** Session `i`, of a database of any size. The first ten are pinned; every fifth comes from cron. */
export function recordOf(i: number): SessionRecord {
  return {
    sessionId: idOf(i),
    name: nameOf(i),
    source: sourceOf(i),
    agentProfile: 'light',
    workingDir: null,
    params: {},
    pinned: i < PINNED,
    createdAt: createdAt(i),
    updatedAt: createdAt(i),
    quarantine: null,
    stats: { ...emptyStats(), totalTasks: i % 50 },
  };
}

/** A page of the list of the first `sessions` sessions, by what the list is defined to be; it looks at all if need be. */
export function pageOf(sessions: number, query: ListQuery): { indexes: number[]; hasMore: boolean } {
  const { limit = 50, before, date, type, q, includePinned = true } = query;
  const matches = (i: number): boolean => {
    const name = nameOf(i);
    if (q !== undefined && !`${name} ${idOf(i)}`.includes(q)) return false;
    if (type !== undefined && sourceOf(i) !== type) return false;
    const at = createdAt(i);
    return (date === undefined || at.startsWith(date)) && (before === undefined || at < before);
  };
  const newestOf = (from: number, downTo: number, most: number): number[] => {
    const indexes: number[] = [];
    for (let i = from; i >= downTo && indexes.length < most; i--) if (matches(i)) indexes.push(i);
    return indexes;
  };
  const pinned = includePinned && before === undefined ? newestOf(PINNED - 1, 0, PINNED) : [];
  const others = newestOf(sessions - 1, PINNED, limit + 1);
  return { indexes: [...pinned, ...others.slice(0, limit)], hasMore: others.length > limit };
}

/** The data folder with the first `sessions` sessions. */
export async function databaseOf(sessions: number): Promise<string> {
  const known = built.get(sessions);
  if (known !== undefined) return known;
  const dir = join(folder(), String(sessions));
  mkdirSync(dir);
  const path = join(dir, 'cabana.db');
  await new SqliteStore(path).close();
  fill(path, sessions);
  built.set(sessions, dir);
  return dir;
}

/** How many sessions are on disk there. */
export function sessionsIn(dataDir: string): number {
  const db = new Sqlite(join(dataDir, 'cabana.db'), { readonly: true });
  try {
    return db.prepare<[], { n: number }>('SELECT count(*) AS n FROM sessions').get()!.n;
  } finally {
    db.close();
  }
}

function folder(): string {
  if (root === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'cabana-bench-sessions-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    root = made;
  }
  return root;
}

function fill(path: string, sessions: number): void {
  const db = new Sqlite(path);
  db.pragma('synchronous = OFF');
  db.pragma('journal_mode = OFF');
  db.pragma('cache_size = -262144');
  defineSearchTerms(db);
  const indexes = db
    .prepare<[], { name: string; sql: string }>(
      `SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'sessions' AND sql IS NOT NULL`,
    )
    .all();
  const session = db.prepare(INSERT_SESSION.sql);
  db.transaction(() => {
    // Sorted once at the end instead of kept in order.
    for (const index of indexes) db.exec(`DROP INDEX ${index.name}`);
    for (let i = 0; i < sessions; i++) session.run(...INSERT_SESSION.values(recordOf(i)));
    for (const index of indexes) db.exec(index.sql);
    db.exec(INDEX_ALL);
  })();
  db.close();
}
