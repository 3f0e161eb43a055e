// The data folder: making it, and holding it so that no second process writes to it.

import { once } from 'node:events';
import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, realpathSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
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
  const lockPath = join(dir, 'cabana.lock');
  let databasePath = join(dir, 'cabana.db');
  let lock: Database | undefined;
  try {
    mkdirSync(dir, { recursive: true });
    lock = new Sqlite(lockPath, { timeout: 0 });
    lock.pragma('journal_mode = DELETE');
    lock.exec('BEGIN EXCLUSIVE');
    // SQLite opens a file that it may not write all the same, and then locks nothing.
    accessSync(lockPath, constants.R_OK | constants.W_OK);
    // An empty file is a new database to SQLite. Made here, so that a link may lead to where there is none yet. (Closing it
    // drops nobody's locks: a file that is made now is open nowhere else.)
    if (!existsSync(databasePath)) closeSync(openSync(databasePath, 'a'));
    // SQLite would open a database that it may not write, and fail at the first write.
    accessSync(databasePath, constants.R_OK | constants.W_OK);
    // Where SQLite puts its log, if this is a link.
    databasePath = realpathSync(databasePath);
  } catch (error) {
    lock?.close();
    if ((error as { code?: string }).code === 'SQLITE_BUSY') throw inUse(`the data folder ${dir}`, error);
    throw new CabanaError('DATA_DIR_INVALID', `cannot use the data folder ${dir}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const held = lock;
  return { databasePath, release: () => held.close() };
}

/**
 * Holds the folder a second time, by names that only one process of this machine can have: the folder's and its database's.
 * For the kernel drops SQLite's locks when code of this process (an agent, a backup) opens a file of the folder and closes
 * it again; and another folder, a copy of this one perhaps, may have a link to the same database. On Linux only: elsewhere
 * a name would outlive a process that is killed.
 * @returns gives them back
 * @throws CabanaError DATA_DIR_IN_USE
 */
export async function holdNames(dir: string, databasePath: string): Promise<() => Promise<void>> {
  const releaseDir = await holdName(dir, `the data folder ${dir}`);
  try {
    const releaseDatabase = await holdName(databasePath, `the database ${databasePath} of the data folder ${dir}`);
    return async () => {
      await releaseDatabase();
      await releaseDir();
    };
  } catch (error) {
    await releaseDir();
    throw error;
  }
}

async function holdName(path: string, what: string): Promise<() => Promise<void>> {
  if (process.platform !== 'linux') return () => Promise.resolve();
  const { dev, ino } = statSync(path, { bigint: true });
  // Whoever connects has nothing to say, and must not keep it from being closed.
  const holder = createServer((connection) => connection.destroy());
  // In the abstract namespace, which a zero byte leads to: it is no file, and ends with the process.
  holder.listen({ path: `\0cabana.${dev}.${ino}` });
  try {
    await once(holder, 'listening');
  } catch (error) {
    if ((error as { code?: string }).code === 'EADDRINUSE') throw inUse(what, error);
    // A sandbox that has no such names: SQLite's lock, which is held already, must do.
    return () => Promise.resolve();
  }
  holder.unref();
  return async () => {
    holder.close();
    await once(holder, 'close');
  };
}

function inUse(what: string, cause: unknown): CabanaError {
  return new CabanaError('DATA_DIR_IN_USE', `another process holds ${what}`, { cause });
}
