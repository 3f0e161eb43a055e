// What SQLite's errors mean to Cabana: full (try again when there is room), corrupt (one session's), or final.

import { CabanaError, messageOf } from '../../protocol/errors.js';

/** ENOSPC reaches SQLite as FULL or, where a file could not be extended at all, as one of these I/O errors. */
const FULL = new Set(['SQLITE_FULL', 'SQLITE_IOERR_SHMSIZE']);

/** After these nothing that is written or read can be trusted. */
const FINAL = /^SQLITE_(IOERR|CORRUPT|NOTADB|READONLY|CANTOPEN)/;

export function storeError(error: unknown): CabanaError {
  if (error instanceof CabanaError) return error;
  const code = (error as { code?: unknown }).code;
  const cause = { cause: error };
  if (typeof code === 'string') {
    if (FULL.has(code)) return new CabanaError('STORE_FULL', 'the disk is full; the write was refused', cause);
    if (FINAL.test(code)) return new CabanaError('STORE_IO', `the storage failed: ${messageOf(error)}`, cause);
    if (code.startsWith('SQLITE_BUSY')) {
      return new CabanaError('STORE_UNAVAILABLE', 'another process holds the database; try again', cause);
    }
  }
  // Not the storage's fault: one operation was wrong, and it alone is to be refused.
  return new CabanaError('INTERNAL', `a store operation failed: ${messageOf(error)}`, cause);
}
