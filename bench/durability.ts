// Whether the store, opened as the product opens it, syncs at every commit. A benchmark of a store that does not would be
// quick and wrong, and time alone cannot tell: on a quick disk a sync takes less than the way to the thread and back.

import { rmSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite, { type Database } from 'better-sqlite3';
import { SqliteStore } from '../src/worker/store/sqlite-store.js';

/** FULL and EXTRA: in WAL mode, from FULL on each commit is synced. */
const SYNCED_FROM = 2;

let answer: Promise<string | null> | null = null;

/** Says what is wrong; null: every commit is synced. Asked once a process. */
export function unsynced(): Promise<string | null> {
  return (answer ??= ask());
}

async function ask(): Promise<string | null> {
  const dir = mkdtempSync(join(tmpdir(), 'cabana-bench-sync-'));
  const connections = new Set<Database>();
  const pragma: Database['pragma'] = Reflect.get(Sqlite.prototype, 'pragma');
  // The settings are those of a connection, and the store keeps its own to itself: whoever sets them is asked.
  Sqlite.prototype.pragma = function (this: Database, ...args) {
    connections.add(this);
    return pragma.apply(this, args);
  };
  try {
    const store = new SqliteStore(join(dir, 'cabana.db'));
    const faults = [...connections].map(faultOf).filter((fault) => fault !== null);
    await store.close();
    return connections.size === 0 ? 'the store sets nothing on its connection' : (faults[0] ?? null);
  } finally {
    Sqlite.prototype.pragma = pragma;
    rmSync(dir, { recursive: true });
  }
}

function faultOf(connection: Database): string | null {
  const journal = String(connection.pragma('journal_mode', { simple: true }));
  const synchronous = Number(connection.pragma('synchronous', { simple: true }));
  if (journal === 'wal' && synchronous >= SYNCED_FROM) return null;
  return `its journal mode is ${journal}, synchronous is ${synchronous}`;
}
