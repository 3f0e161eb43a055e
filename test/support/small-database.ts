// Loaded into a server's process by NODE_OPTIONS=--import: its database may not grow beyond SMALL_DATABASE_PAGES while the
// file SMALL_DATABASE_BALLAST is there. To SQLite, and to all above it, the disk is full then; no special rights are needed.

import { existsSync } from 'node:fs';
import Sqlite, { type Database, type Statement } from 'better-sqlite3';

const { SMALL_DATABASE_BALLAST: ballast, SMALL_DATABASE_PAGES: pages } = process.env;
/** SQLite's own bound. */
const UNBOUNDED_PAGES = 4_294_967_294;

const prototype = Sqlite.prototype as { prepare: (this: Database, source: string) => Statement };
const { prepare } = prototype;

prototype.prepare = function (source) {
  const statement = prepare.call(this, source);
  if (!source.startsWith('BEGIN')) return statement;
  const run = statement.run.bind(statement);
  // Before each transaction: the file may have come or gone.
  statement.run = (...args: unknown[]) => {
    this.pragma(`max_page_count = ${existsSync(ballast!) ? pages! : UNBOUNDED_PAGES}`);
    return run(...args);
  };
  return statement;
};
