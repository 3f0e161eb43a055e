// The data folder: making it, and holding it so that no second process writes to it.

import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite, { type Database } from 'better-sqlite3';
import { CabanaError, messageOf } from '../../protocol/errors.js';

export interface DataDir {
  databasePath: string;
  release(): void;
}

/**
 * Holds the folder for this process. Node has no file locks; SQLite's do the same and, being the kernel's, are gone with
 * the process however it ends, so that a lock is never left behind by kill -9.
 * @throws CabanaError DATA_DIR_INVALID, DATA_DIR_IN_USE
 */
export function holdDataDir(dir: string): DataDir {
  const databasePath = join(dir, 'cabana.db');
  let lock: Database | undefined;
  try {
    mkdirSync(dir, { recursive: true });
    lock = new Sqlite(join(dir, 'cabana.lock'), { timeout: 0 });
    lock.pragma('journal_mode = DELETE');
    lock.exec('BEGIN EXCLUSIVE');
    // SQLite would open a database that it may not write, and fail at the first write.
    if (existsSync(databasePath)) accessSync(databasePath, constants.R_OK | constants.W_OK);
  } catch (error) {
    lock?.close();
    if ((error as { code?: string }).code === 'SQLITE_BUSY') {
      throw new CabanaError('DATA_DIR_IN_USE', `another process holds the data folder ${dir}`, { cause: error });
    }
    throw new CabanaError('DATA_DIR_INVALID', `cannot use the data folder ${dir}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const held = lock;
  return { databasePath, release: () => held.close() };
}
