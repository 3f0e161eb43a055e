// A bound on what an agent's hooks may await: whoever waits for a hook holds the session's lock.

import { CabanaError, type ErrorCode } from '../protocol/errors.js';
import { clearTimeout, setTimeout } from './platform.js';

/**
 * The work's result, if it comes in time. Work that comes too late is not stopped: its caller must see to it that it
 * cannot do harm any more.
 * @throws CabanaError of this code when the time is up
 */
export async function inTime<T>(work: Promise<T>, ms: number, code: ErrorCode, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new CabanaError(code, `${what} did not end within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
