// What a caller says of a new session, checked and completed to a record.

import { decodeValue, encodeValue, isPlainObject } from '../../protocol/codec.js';
import { CabanaError, assertFields } from '../../protocol/errors.js';
import { assertSessionId, newSessionId } from '../../protocol/ids.js';
import {
  ERROR_MAX_CHARS,
  LABEL_MAX_CHARS,
  NAME_MAX_CHARS,
  PATH_MAX_CHARS,
  SUB_MODELS_MAX,
} from '../../protocol/limits.js';
import {
  emptyStats,
  profileOf,
  type NewSession,
  type SessionRecord,
  type SessionStats,
} from '../../protocol/session.js';
import { FIRST_INSTANT, LAST_INSTANT, instantOf } from './views/listing.js';

/** @throws CabanaError SESSION_ID_INVALID, INVALID_ARGUMENT, UNKNOWN_PROFILE, VALUE_NOT_ENCODABLE, PAYLOAD_TOO_LARGE */
export function newRecord(fields: NewSession, profiles: ReadonlyMap<string, unknown>, now: number): SessionRecord {
  assertFields(fields, 'fields');
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
    stats: statsFrom(fields.stats ?? {}),
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

/** @throws CabanaError INVALID_ARGUMENT */
function statsFrom(fields: unknown): SessionStats {
  if (!isPlainObject(fields)) throw new CabanaError('INVALID_ARGUMENT', 'stats is a plain object');
  const stats = emptyStats();
  for (const [field, value] of Object.entries(fields)) {
    if (!Object.hasOwn(stats, field)) throw new CabanaError('INVALID_ARGUMENT', `there is no figure "${field}"`);
    if (value === undefined) continue;
    Object.assign(stats, { [field]: figure(field as keyof SessionStats, value) });
  }
  return stats;
}

function figure(field: keyof SessionStats, value: unknown): unknown {
  switch (field) {
    case 'latestLatencyMs':
      return value === null ? null : amount(value, field);
    case 'totalTasks':
    case 'totalCostUsd':
      return amount(value, field);
    case 'subModelOptions':
      if (value === null) return null;
      if (!Array.isArray(value) || value.length > SUB_MODELS_MAX) {
        throw new CabanaError('INVALID_ARGUMENT', `${field} is an array of at most ${SUB_MODELS_MAX}`);
      }
      return value.map((option) => text(option, field, LABEL_MAX_CHARS));
    default:
      return text(value, field, field === 'error' ? 2 * ERROR_MAX_CHARS : LABEL_MAX_CHARS);
  }
}

function amount(value: unknown, field: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw new CabanaError('INVALID_ARGUMENT', `${field} is a number, 0 or more`);
}

function text(value: unknown, field: string, maxChars: number): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string' || value.length > maxChars) {
    throw new CabanaError('INVALID_ARGUMENT', `${field} is text of at most ${maxChars} characters`);
  }
  // As the store will give it back: what is shown while the session is in memory is no other text.
  return value.toWellFormed();
}

function instant(value: unknown, now: number, field: string): string {
  if (value === undefined || value === null) return new Date(now).toISOString();
  const at = typeof value === 'string' ? instantOf(value) : NaN;
  if (!(at >= FIRST_INSTANT && at <= LAST_INSTANT)) {
    throw new CabanaError('INVALID_ARGUMENT', `${field} is an ISO 8601 instant of the years 0000 to 9999`);
  }
  return new Date(at).toISOString();
}
