// What requests may hold. Bodies are not coerced: a number in quotes is refused. Query values are text by nature.

import {
  LABEL_MAX_CHARS,
  LIST_LIMIT_MAX_ROWS,
  MESSAGES_LIMIT_MAX_ROWS,
  NAME_MAX_CHARS,
  PATH_MAX_CHARS,
  PRIORITY_MAX,
  RUN_TIMEOUT_MAX_MS,
  RUN_WAIT_MAX_MS,
} from '../../protocol/limits.js';
import { CabanaError } from '../../protocol/errors.js';
import { Fields, anything, digits, flag, integer, object, oneOf, orNull, text } from './fields.js';

export const CREATE_SESSION = {
  body: new Fields(
    {
      name: orNull(text(NAME_MAX_CHARS)),
      agent_profile: text(LABEL_MAX_CHARS, 1),
      source: orNull(text(LABEL_MAX_CHARS)),
      working_dir: orNull(text(PATH_MAX_CHARS)),
      params: object,
      pinned: flag,
    },
    { required: 'agent_profile' },
  ),
};

export const PATCH_SESSION = {
  body: new Fields({ name: orNull(text(NAME_MAX_CHARS)), pinned: flag }, { mayBeEmpty: false }),
};

export const CREATE_RUN = {
  body: new Fields(
    {
      input: anything,
      when_busy: oneOf('enqueue', 'reject', 'interrupt'),
      run_id: text(),
      run_timeout_ms: integer(1, RUN_TIMEOUT_MAX_MS),
      priority: integer(-PRIORITY_MAX, PRIORITY_MAX),
    },
    { required: 'input' },
  ),
};

export const INTERRUPT = { body: new Fields({ run_id: text() }, { mayBeAbsent: true }) };

export const LIST_SESSIONS = {
  querystring: new Fields({
    limit: digits,
    before: text(256),
    q: text(),
    date: text(10),
    type: text(LABEL_MAX_CHARS),
    include_pinned: oneOf('true', 'false', '1', '0'),
  }),
};

export const LIST_MESSAGES = { querystring: new Fields({ limit: digits, before: digits }) };
export const GET_RUN = { querystring: new Fields({ wait_ms: digits }) };
export const EVENTS = { querystring: new Fields({ last_event_id: digits }) };

export interface CreateSessionBody {
  name?: string | null;
  agent_profile: string;
  source?: string | null;
  working_dir?: string | null;
  params?: Record<string, unknown>;
  pinned?: boolean;
}

export interface CreateRunBody {
  input: unknown;
  when_busy?: 'enqueue' | 'reject' | 'interrupt';
  run_id?: string;
  run_timeout_ms?: number;
  priority?: number;
}

/** A count from a query string. @throws CabanaError INVALID_ARGUMENT */
export function countOf(value: string | undefined, name: string, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  const count = Number(value);
  if (count < min || count > max) throw new CabanaError('INVALID_ARGUMENT', `${name} is from ${min} to ${max}`);
  return count;
}

export const BOUNDS = {
  list: { min: 1, max: LIST_LIMIT_MAX_ROWS },
  messages: { min: 1, max: MESSAGES_LIMIT_MAX_ROWS },
  waitMs: { min: 0, max: RUN_WAIT_MAX_MS },
} as const;

export function booleanOf(value: string | undefined): boolean | undefined {
  return value === undefined ? undefined : value === 'true' || value === '1';
}
