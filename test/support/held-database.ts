// A database that another process holds, as far as SQLite can tell.

import { join } from 'node:path';
import type { TestContext } from 'node:test';
import Sqlite from 'better-sqlite3';

/** A connection that nobody else can write beside, until release(). */
export function holdDatabase(t: TestContext, dataDir: string): { release(): void } {
  const db = new Sqlite(join(dataDir, 'cabana.db'));
  t.after(() => db.close());
  db.exec('BEGIN IMMEDIATE');
  return { release: () => db.exec('ROLLBACK') };
}
