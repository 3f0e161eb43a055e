// What requests may hold. Bodies are not coerced: a number in quotes is refused. Query values are text by nature.

import { CabanaError } from '../../protocol/errors.js';
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

const text = (maxLength: number) => ({ type: ['string', 'null'], maxLength });
const digits = { type: 'string', pattern: '^[0-9]{1,15}$' };
const boolean = { type: 'string', enum: ['true', 'false', '1', '0'] };

const object = (properties: Record<string, unknown>, required: string[] = []) => ({
  type: 'object',
  additionalProperties: false,
  properties,
  required,
});

export const CREATE_SESSION = {
  body: object(
    {
      name: text(NAME_MAX_CHARS),
      agent_profile: { type: 'string', minLength: 1, maxLength: LABEL_MAX_CHARS },
      source: text(LABEL_MAX_CHARS),
      working_dir: text(PATH_MAX_CHARS),
      params: { type: 'object' },
      pinned: { type: 'boolean' },
    },
    ['agent_profile'],
  ),
};

export const PATCH_SESSION = {
  body: { ...object({ name: text(NAME_MAX_CHARS), pinned: { type: 'boolean' } }), minProperties: 1 },
};

export const CREATE_RUN = {
  body: object(
    {
      input: {},
      when_busy: { type: 'string', enum: ['enqueue', 'reject', 'interrupt'] },
      run_id: { type: 'string' },
      run_timeout_ms: { type: 'integer', minimum: 1, maximum: RUN_TIMEOUT_MAX_MS },
      priority: { type: 'integer', minimum: -PRIORITY_MAX, maximum: PRIORITY_MAX },
    },
    ['input'],
  ),
};

export const INTERRUPT = {
  body: { anyOf: [{ type: 'null' }, object({ run_id: { type: 'string' } })] },
};

export const LIST_SESSIONS = {
  querystring: object({
    limit: digits,
    before: { type: 'string', maxLength: 256 },
    q: { type: 'string' },
    date: { type: 'string', maxLength: 10 },
    type: { type: 'string', maxLength: LABEL_MAX_CHARS },
    include_pinned: boolean,
  }),
};

export const LIST_MESSAGES = { querystring: object({ limit: digits, before: digits }) };
export const GET_RUN = { querystring: object({ wait_ms: digits }) };
export const EVENTS = { querystring: object({ last_event_id: digits }) };

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
