// The grammar of session and run ids, and how new ones are made.

import { randomBytes } from 'node:crypto';
import { CabanaError } from './errors.js';
import { ID_MAX_CHARS } from './limits.js';

/**
 * Letters, digits, `_ . : -`, starting with a letter or digit, at most ID_MAX_CHARS. No slash and no leading dot, so
 * that an id is safe in a URL path and in a file name.
 */
const ID = new RegExp(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,${ID_MAX_CHARS - 1}}$`);

export function isId(id: unknown): id is string {
  return typeof id === 'string' && ID.test(id);
}

/** @throws CabanaError SESSION_ID_INVALID */
export function assertSessionId(id: unknown): asserts id is string {
  if (!isId(id)) throw new CabanaError('SESSION_ID_INVALID', `not a session id: ${show(id)}`);
}

/** @throws CabanaError RUN_ID_INVALID */
export function assertRunId(id: unknown): asserts id is string {
  if (!isId(id)) throw new CabanaError('RUN_ID_INVALID', `not a run id: ${show(id)}`);
}

/** 16 hexadecimal digits: 64 random bits. */
export function newSessionId(): string {
  return randomBytes(8).toString('hex');
}

export function newRunId(): string {
  return `run_${randomBytes(8).toString('hex')}`;
}

function show(id: unknown): string {
  return typeof id === 'string' ? JSON.stringify(id.slice(0, 64)) : typeof id;
}
