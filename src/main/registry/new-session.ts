// What a caller says of a new session, checked and completed to a record.

import { decodeValue, encodeValue, isPlainObject } from '../../protocol/codec.js';
import { CabanaError } from '../../protocol/errors.js';
import { assertSessionId, newSessionId } from '../../protocol/ids.js';
import { LABEL_MAX_CHARS, NAME_MAX_CHARS, PATH_MAX_CHARS } from '../../protocol/limits.js';
import { emptyStats, profileOf, type NewSession, type SessionRecord } from '../../protocol/session.js';

/** @throws CabanaError SESSION_ID_INVALID, INVALID_ARGUMENT, UNKNOWN_PROFILE, VALUE_NOT_ENCODABLE, PAYLOAD_TOO_LARGE */
export function newRecord(fields: NewSession, profiles: ReadonlyMap<string, unknown>, now: number): SessionRecord {
  const sessionId = fields.sessionId ?? newSessionId();
  assertSessionId(sessionId);
  const params = fields.params ?? {};
  if (!isPlainObject(params)) throw new CabanaError('INVALID_ARGUMENT', 'params is a plain object');
  const record: SessionRecord = {
    sessionId,
    name: checkName(fields.name),
    source: text(fields.source, 'source', LABEL_MAX_CHARS),
    agentProfile: text(fields.agentProfile, 'agentProfile', LABEL_MAX_CHARS),
    workingDir: text(fields.workingDir, 'workingDir', PATH_MAX_CHARS),
    // What the store would keep: encoded now, so that what cannot be is the caller's error.
    params: decodeValue(encodeValue(params, 'params')) as Record<string, unknown>,
    pinned: checkPinned(fields.pinned ?? false),
    createdAt: instant(fields.createdAt, now, 'createdAt'),
    updatedAt: instant(fields.updatedAt ?? fields.createdAt, now, 'updatedAt'),
    quarantine: null,
    stats: { ...emptyStats(), ...fields.stats },
  };
  const profile = profileOf(record);
  if (!profiles.has(profile)) {
    const known = [...profiles.keys()].join(', ') || 'none';
    throw new CabanaError('UNKNOWN_PROFILE', `no agent of this host has the profile "${profile}"; there are: ${known}`);
  }
  return record;
}

/** @throws CabanaError INVALID_ARGUMENT */
export function checkName(name: unknown): string | null {
  return text(name, 'name', NAME_MAX_CHARS);
}

/** @throws CabanaError INVALID_ARGUMENT */
export function checkPinned(pinned: unknown): boolean {
  if (typeof pinned === 'boolean') return pinned;
  throw new CabanaError('INVALID_ARGUMENT', 'pinned is true or false');
}

function text(value: unknown, field: string, maxChars: number): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string' || value.length > maxChars) {
    throw new CabanaError('INVALID_ARGUMENT', `${field} is text of at most ${maxChars} characters`);
  }
  return value;
}

function instant(value: unknown, now: number, field: string): string {
  if (value === undefined || value === null) return new Date(now).toISOString();
  const at = typeof value === 'string' ? Date.parse(value) : NaN;
  if (Number.isNaN(at)) throw new CabanaError('INVALID_ARGUMENT', `${field} is an ISO 8601 instant`);
  return new Date(at).toISOString();
}
