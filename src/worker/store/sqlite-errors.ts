// What SQLite's errors mean to Cabana: full (try again when there is room), corrupt (one session's), or final.

import { CabanaError, messageOf } from '../../protocol/errors.js';

/** ENOSPC reaches SQLite as FULL or, where a file could not be extended at all, as one of these I/O errors. */
const FULL = new Set(['SQLITE_FULL', 'SQLITE_IOERR_SHMSIZE']);

/** After these nothing that is written or read can be trusted. */
const FINAL = /^SQLITE_(IOERR|CORRUPT|NOTADB|READONLY|CANTOPEN)/;

/**
 * A page of the database is damaged that holds what was read of one session: its operation is to be refused, and nobody
 * else's. No CabanaError, which would refuse it within the transaction: SQLite takes no more writes in this one.
 */
export class DamagedSession extends Error {}

/** @throws DamagedSession */
export function unlessDamaged<T>(sessionId: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error as { code?: string }).code?.startsWith('SQLITE_CORRUPT')) throw error;
    const message = `what is stored of session ${sessionId} cannot be read: ${messageOf(error)}`;
    throw new DamagedSession(message, { cause: error });
  }
}

export function storeError(error: unknown): CabanaError {
  if (error instanceof CabanaError) return error;
  if (error instanceof DamagedSession) return new CabanaError('STORE_CORRUPT', error.message, { cause: error.cause });
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
