// The table of error codes: what each means, whether trying again can help, and the HTTP status it is answered with;
// and the one error class that carries a code, to and from its wire form. docs/errors.md repeats the table; a test
// holds the two in step.

import { ERROR_MAX_CHARS } from './limits.js';

/** Every code Cabana uses. `retryable`: the same call may succeed later without a change. */
export const ERROR_CODES = {
  INVALID_ARGUMENT: {
    status: 400,
    retryable: false,
    meaning: 'A field or option is missing, of the wrong type or out of range.',
  },
  SESSION_ID_INVALID: { status: 400, retryable: false, meaning: 'The session id is empty or not of the id grammar.' },
  RUN_ID_INVALID: { status: 400, retryable: false, meaning: 'The run id is empty or not of the id grammar.' },
  UNKNOWN_PROFILE: { status: 400, retryable: false, meaning: 'No agent of this host has that profile.' },
  ENTRY_INVALID: {
    status: 400,
    retryable: false,
    meaning: 'A history entry must be a plain object that MessagePack can carry.',
  },
  VALUE_NOT_ENCODABLE: {
    status: 400,
    retryable: false,
    meaning: 'An input, output, entry, event, state or params cannot be encoded.',
  },
  SESSION_NOT_FOUND: { status: 404, retryable: false, meaning: 'No session has this id, or it was deleted.' },
  RUN_NOT_FOUND: { status: 404, retryable: false, meaning: 'The session has no run with this id.' },
  NOT_FOUND: { status: 404, retryable: false, meaning: 'There is nothing at this URL.' },
  SESSION_EXISTS: {
    status: 409,
    retryable: false,
    meaning: 'A session with this id exists, or existed and was deleted.',
  },
  SESSION_BUSY: { status: 409, retryable: true, meaning: 'The session has a run, and when_busy is reject.' },
  SESSION_QUARANTINED: {
    status: 409,
    retryable: false,
    meaning: 'The session took its thread down or was abandoned too often; an operator must clear it.',
  },
  PAYLOAD_TOO_LARGE: {
    status: 413,
    retryable: false,
    meaning: 'A body, input, output or event is larger than its cap.',
  },
  ENTRY_TOO_LARGE: { status: 413, retryable: false, meaning: 'A history entry is larger than its cap.' },
  STATE_TOO_LARGE: { status: 413, retryable: false, meaning: 'A snapshot is larger than its cap.' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, retryable: false, meaning: 'Bodies are application/json.' },
  REQUEST_TIMEOUT: { status: 408, retryable: true, meaning: 'The client took too long to send its request.' },
  HEADERS_TOO_LARGE: { status: 431, retryable: false, meaning: "A request's line and headers are larger than 16 KiB." },
  MAILBOX_FULL: { status: 429, retryable: true, meaning: 'The session has as many queued runs as its mailbox holds.' },
  AGENT_ERROR: { status: 500, retryable: false, meaning: "The agent's code threw." },
  RESTORE_FAILED: {
    status: 500,
    retryable: true,
    meaning: "The agent's start or restore threw; the session stays on disk.",
  },
  SAVE_FAILED: { status: 500, retryable: true, meaning: "The agent's save threw; the session stays in memory." },
  AGENT_CRASHED: {
    status: 500,
    retryable: true,
    meaning: 'The run took its thread down, or the thread died and nobody is known to have done it.',
  },
  AGENT_OUT_OF_MEMORY: { status: 500, retryable: false, meaning: "The run's thread ran out of heap." },
  AGENT_UNRESPONSIVE: {
    status: 500,
    retryable: false,
    meaning: 'The run ignored its interrupt; its thread was given up, or, for an io run, the run was abandoned.',
  },
  RUN_INTERRUPTED: { status: 409, retryable: false, meaning: 'The run was asked to stop and did.' },
  RUN_TIMEOUT: { status: 504, retryable: false, meaning: 'The run took longer than its run_timeout_ms.' },
  RUN_CUT_OFF: { status: 500, retryable: true, meaning: 'The process ended while the run was running.' },
  SESSION_DELETED: {
    status: 410,
    retryable: false,
    meaning: 'The session was deleted while the run was queued or running.',
  },
  THREAD_DIED: {
    status: 503,
    retryable: true,
    meaning: 'The thread of a run or call is gone through no known fault of its own; the session comes back elsewhere.',
  },
  STALE_EPOCH: { status: 409, retryable: false, meaning: 'A superseded activation tried to write.' },
  JOURNAL_GAP: { status: 500, retryable: false, meaning: 'An append did not follow the one before it. A bug.' },
  JOURNAL_BACKLOG: {
    status: 503,
    retryable: true,
    meaning: 'Too much is waiting for the disk; await append() or durable().',
  },
  STORE_FULL: { status: 507, retryable: true, meaning: 'The disk is full. Nothing acknowledged is lost; reads go on.' },
  STORE_IO: {
    status: 500,
    retryable: false,
    meaning: 'The storage failed; the process stops acknowledging and exits 74.',
  },
  STORE_CORRUPT: {
    status: 500,
    retryable: false,
    meaning: "A stored body of this session, or a run's output, does not match its checksum.",
  },
  STORE_UNAVAILABLE: { status: 503, retryable: true, meaning: 'Another process holds the database.' },
  STORE_SCHEMA: { status: 500, retryable: false, meaning: 'The data folder was written by a newer version.' },
  HOST_DRAINING: { status: 503, retryable: true, meaning: 'The host is shutting down and takes no new work.' },
  HOST_OVERLOADED: {
    status: 503,
    retryable: true,
    meaning: 'More runs wait in the host, or in the store for the disk, than it holds.',
  },
  HOST_CLOSED: { status: 503, retryable: true, meaning: 'The host was closed.' },
  DATA_DIR_IN_USE: { status: 500, retryable: false, meaning: 'Another process holds the data folder.' },
  DATA_DIR_INVALID: { status: 500, retryable: false, meaning: 'The data folder cannot be made or written.' },
  AGENT_MODULE_INVALID: {
    status: 500,
    retryable: false,
    meaning: 'An agent module cannot be loaded or has no valid definition.',
  },
  CONFIG_INVALID: {
    status: 500,
    retryable: false,
    meaning: 'A flag, environment variable or createHost option is wrong.',
  },
  INTERNAL: { status: 500, retryable: false, meaning: 'A bug in Cabana.' },
} as const satisfies Record<string, { status: number; retryable: boolean; meaning: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** An error of an operation: it has a code of the table. Anything else that is thrown is a bug. */
export class CabanaError extends Error {
  override name = 'CabanaError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }

  /** HTTP status. */
  get status(): number {
    return ERROR_CODES[this.code].status;
  }
}

/**
 * Callers in plain JavaScript can leave out what the types ask for, or misspell it.
 * @param known the fields that there are; undefined: whoever calls checks them
 * @throws CabanaError INVALID_ARGUMENT
 */
export function assertFields(value: unknown, name: string, known?: readonly string[]): asserts value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CabanaError('INVALID_ARGUMENT', `${name} is an object`);
  }
  if (!known) return;
  for (const field of Object.keys(value)) {
    if (known.includes(field)) continue;
    throw new CabanaError('INVALID_ARGUMENT', `${name} has no field "${field}"; there are: ${known.join(', ')}`);
  }
}

/** An error as it crosses threads: structured clone and Comlink lose `code` and `cause`, this keeps them. */
export interface WireError {
  code: ErrorCode | null;
  name: string;
  message: string;
  stack: string | null;
  cause: WireError | null;
}

/** How many causes deep an error is carried. */
const CAUSE_DEPTH = 3;

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
}

/** The code of whatever was thrown; INTERNAL if it has none of the table. */
export function codeOf(error: unknown): ErrorCode {
  const code = (error as { code?: unknown } | null)?.code;
  return isErrorCode(code) ? code : 'INTERNAL';
}

/**
 * Whether the store may take the same write later: the disk is full, another process holds the database, or it was
 * closed, which the next start changes. What agents have done waits for that.
 */
export function isPassing(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'STORE_FULL' || code === 'STORE_UNAVAILABLE' || code === 'HOST_CLOSED';
}

/** Of anything that was thrown: an agent's code may throw a Proxy, or an Error that has an object for its message. */
export function toWire(error: unknown, depth = CAUSE_DEPTH): WireError {
  const wire: WireError = { code: null, name: 'Error', message: messageOf(error), stack: null, cause: null };
  if (!isA(error, Error)) return wire;
  try {
    const { code } = error as { code?: unknown };
    if (isErrorCode(code)) wire.code = code;
    wire.name = cut(String(error.name));
    if (typeof error.stack === 'string') wire.stack = cut(error.stack);
    if (error.cause !== undefined && depth > 0) wire.cause = toWire(error.cause, depth - 1);
  } catch {
    // A getter of its own that throws: what was read until then is told.
  }
  return wire;
}

export function fromWire(wire: WireError): Error {
  const options = wire.cause ? { cause: fromWire(wire.cause) } : undefined;
  const error = wire.code ? new CabanaError(wire.code, wire.message, options) : new Error(wire.message, options);
  if (!wire.code) error.name = wire.name;
  if (wire.stack) error.stack = wire.stack;
  return error;
}

/** `value instanceof type`, false for what does not even let itself be asked. */
export function isA<T>(value: unknown, type: abstract new (...args: never) => T): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** The message of anything that was thrown, cut to ERROR_MAX_CHARS. */
export function messageOf(error: unknown): string {
  try {
    const message: unknown = isA(error, Error) ? error.message : error;
    if (typeof message === 'string') return cut(message);
    const json = isA(error, Error) && typeof message === 'object' ? JSON.stringify(message) : undefined;
    return cut(json ?? String(message));
  } catch {
    // An object without a prototype, or with a toString() of its own that throws.
    return 'something was thrown that has no text';
  }
}

function cut(text: string): string {
  return text.length > ERROR_MAX_CHARS ? `${text.slice(0, ERROR_MAX_CHARS)}...` : text;
}
