// The SQLite schema and its migrations. A version is never edited once released: a new one is added below it.

import type { Database } from 'better-sqlite3';
import { CabanaError } from '../../protocol/errors.js';
import { CREATE_SEARCH, INDEX_ALL, defineSearchTerms } from './sqlite-search.js';

/**
 * journal is a rowid table in the order of arrival, with a unique index on (session, seq): appending there was 2.5 to 7
 * times faster than a table clustered on (session, seq). sqlite-search.ts tells what sessions_search holds.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE sessions (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT,
    source TEXT NOT NULL,
    agent_profile TEXT,
    kind TEXT NOT NULL,          -- what the list's type filter compares: 'coding', or 's:' and the source
    working_dir TEXT,
    params BLOB NOT NULL,
    pinned INTEGER NOT NULL,
    created_at TEXT NOT NULL,    -- ISO 8601, UTC, milliseconds: text order is time order
    updated_at TEXT NOT NULL,
    folded TEXT NOT NULL,        -- name and id, folded for search
    stats TEXT NOT NULL,         -- JSON
    epoch INTEGER NOT NULL,
    quarantine TEXT,             -- why it takes no more runs
    deleted_at INTEGER,          -- a tombstone: the id is never given again
    purged INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX sessions_by_created ON sessions (pinned, created_at DESC, id DESC) WHERE deleted_at IS NULL;
  CREATE INDEX sessions_by_kind ON sessions (kind, pinned, created_at DESC, id DESC) WHERE deleted_at IS NULL;
  CREATE INDEX sessions_by_source ON sessions (source, created_at DESC, id DESC) WHERE deleted_at IS NULL;
  CREATE INDEX sessions_to_purge ON sessions (key) WHERE deleted_at IS NOT NULL AND purged = 0;

  CREATE VIRTUAL TABLE sessions_fts USING fts5 (
    folded, content = '', contentless_delete = 1, columnsize = 1, detail = 'none',
    tokenize = 'trigram case_sensitive 1'
  );

  CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX journal_by_seq ON journal (session, seq);

  CREATE TABLE snapshots (
    session INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL,
    waiting TEXT,                -- JSON: input seqs of the runs that had yet to start
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
  ) STRICT;

  CREATE TABLE runs (
    id INTEGER PRIMARY KEY,      -- the order of acceptance
    session INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    state TEXT NOT NULL,
    input_seq INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    output BLOB,
    error TEXT,
    code TEXT
  ) STRICT;
  CREATE UNIQUE INDEX runs_by_id ON runs (session, run_id);
  CREATE INDEX runs_open ON runs (session) WHERE state IN ('queued', 'running');
  `,
  // Search by one and two letters, newest first.
  `DROP TABLE sessions_fts; ${CREATE_SEARCH}; ${INDEX_ALL};`,
  // Inputs that no run was ever given: no restore is told of them.
  'CREATE INDEX IF NOT EXISTS runs_never_started ON runs (session, input_seq) WHERE started_at IS NULL AND ended_at IS NOT NULL;',
  // What a run was sent with. timeout_ms NULL: the profile's.
  'ALTER TABLE runs ADD COLUMN timeout_ms INTEGER; ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;',
  // The output's. NULL: there is none, or it is of an older version.
  'ALTER TABLE runs ADD COLUMN crc INTEGER;',
];

/** @throws CabanaError STORE_SCHEMA: the folder was written by a newer version, or by something else */
export function migrate(db: Database): void {
  const found = db.pragma('user_version', { simple: true }) as number;
  if (found > MIGRATIONS.length || found < 0) {
    throw new CabanaError(
      'STORE_SCHEMA',
      `the data folder has schema version ${found}; this version of Cabana knows ${MIGRATIONS.length}`,
    );
  }
  if (found === 0 && db.prepare('SELECT 1 FROM sqlite_master LIMIT 1').get()) {
    throw new CabanaError('STORE_SCHEMA', 'the cabana.db of the data folder is the database of another program');
  }
  defineSearchTerms(db);
  db.transaction(() => {
    for (let version = found; version < MIGRATIONS.length; version++) {
      db.exec(MIGRATIONS[version]!);
      db.pragma(`user_version = ${version + 1}`);
    }
  }).immediate();
}
