// MessagePack with a version byte in front and a cap on the size. Two dialects: entries (portable maps, what clients in
// any language can read) and states (records, cycles, Map, Set and typed arrays survive).
//
// What msgpackr returns is a view into a pooled buffer; an encoder (encode…) copies exactly its bytes, so that posting them
// never drags the pool along. -0 becomes 0, functions become undefined, class instances become plain objects; symbols throw.

import { addExtension, Packr, RESERVE_START_SPACE, RESET_BUFFER_MODE, Unpackr } from 'msgpackr';
import { CabanaError, messageOf, type ErrorCode } from './errors.js';
import {
  ENTRY_MAX_BYTES,
  EVENT_MAX_BYTES,
  INPUT_MAX_BYTES,
  OUTPUT_MAX_BYTES,
  PARAMS_MAX_BYTES,
  STATE_MAX_BYTES,
} from './limits.js';
import { assertPortable } from './portable.js';
import type { JournalEntry } from './session.js';

/** First byte of everything encoded here. */
const CODEC_VERSION = 1;

// moreTypes: without it a typed array in an entry is written from the wrong memory.
const PORTABLE = { useRecords: false, variableMapSize: true, moreTypes: true, useBigIntExtension: true } as const;
// copyBuffers: without it a Buffer comes back as a view, which keeps all of a snapshot, or of a page of entries, in memory.
const entries = new Packr(PORTABLE);
const entryReader = new Unpackr({ ...PORTABLE, copyBuffers: true });
const states = new Packr({ structuredClone: true });
const stateReader = new Unpackr({ structuredClone: true, copyBuffers: true });

// What is a Map, but not by its constructor: msgpackr would write its own fields, of which it has none, and lose the rest.
// (It knows subclasses of Set and Array itself.)
addExtension({ Class: Map, write: (map: Map<unknown, unknown>) => new Map(map) });

/** What a value is, which decides its cap and the code of the error when it is over. */
const CAPS = {
  input: { bytes: INPUT_MAX_BYTES, code: 'PAYLOAD_TOO_LARGE' },
  output: { bytes: OUTPUT_MAX_BYTES, code: 'PAYLOAD_TOO_LARGE' },
  event: { bytes: EVENT_MAX_BYTES, code: 'PAYLOAD_TOO_LARGE' },
  params: { bytes: PARAMS_MAX_BYTES, code: 'PAYLOAD_TOO_LARGE' },
  entry: { bytes: ENTRY_MAX_BYTES, code: 'ENTRY_TOO_LARGE' },
  state: { bytes: STATE_MAX_BYTES, code: 'STATE_TOO_LARGE' },
} as const satisfies Record<string, { bytes: number; code: ErrorCode }>;

export type ValueKind = keyof typeof CAPS;

/** @throws CabanaError VALUE_NOT_ENCODABLE, or the kind's code when it is too large */
export function encodeValue(value: unknown, kind: Exclude<ValueKind, 'state'>): Uint8Array<ArrayBuffer> {
  return pack(entries, value, kind);
}

export function decodeValue(bytes: Uint8Array): unknown {
  return unpack(entryReader, bytes);
}

/**
 * An event without a version byte: it never reaches a disk. To be copied before anything else is encoded.
 * @throws CabanaError VALUE_NOT_ENCODABLE, PAYLOAD_TOO_LARGE
 */
export function packEvent(event: unknown): Uint8Array {
  return pooled(entries, event, 'event', 0);
}

/** What packEvent() made, or an array of it. Throws what the unpacker throws. */
export function unpackBare(bytes: Uint8Array): unknown {
  return entryReader.unpack(bytes) as unknown;
}

/** @throws CabanaError ENTRY_INVALID, ENTRY_TOO_LARGE, VALUE_NOT_ENCODABLE */
export function encodeEntry(entry: JournalEntry): Uint8Array<ArrayBuffer> {
  return new Uint8Array(packEntry(entry));
}

/**
 * The same bytes in the pooled buffer: to be copied before anything else is encoded.
 * @throws CabanaError ENTRY_INVALID, ENTRY_TOO_LARGE, VALUE_NOT_ENCODABLE
 */
export function packEntry(entry: JournalEntry): Uint8Array {
  if (!isPlainObject(entry)) throw new CabanaError('ENTRY_INVALID', 'a history entry must be a plain object');
  return versioned(entries, entry, 'entry');
}

export function decodeEntry(bytes: Uint8Array): JournalEntry {
  const entry = unpack(entryReader, bytes);
  if (!isPlainObject(entry)) throw new CabanaError('STORE_CORRUPT', 'a stored entry is not an object');
  return entry;
}

/** @throws CabanaError STATE_TOO_LARGE, VALUE_NOT_ENCODABLE */
export function encodeState(state: unknown): Uint8Array<ArrayBuffer> {
  return pack(states, state, 'state');
}

export function decodeState(bytes: Uint8Array): unknown {
  return unpack(stateReader, bytes);
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** @param reserved bytes before the value that are left for the caller */
function pooled(packr: Packr, value: unknown, kind: ValueKind, reserved: 0 | 1): Uint8Array {
  let packed: Uint8Array;
  try {
    // An input is handed over in its entry.
    if (packr === entries) assertPortable(value, kind === 'input' ? 1 : 0);
    // The pooled buffer is used again from the same place: what is in it is copied before the next call.
    packed = packr.pack(value, RESET_BUFFER_MODE | RESERVE_START_SPACE | reserved);
  } catch (error) {
    throw new CabanaError('VALUE_NOT_ENCODABLE', `this ${kind} cannot be encoded: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const cap = CAPS[kind];
  if (packed.byteLength > cap.bytes) {
    throw new CabanaError(cap.code, `this ${kind} takes ${packed.byteLength} bytes; at most ${cap.bytes} are allowed`);
  }
  return packed;
}

function versioned(packr: Packr, value: unknown, kind: ValueKind): Uint8Array {
  const packed = pooled(packr, value, kind, 1);
  packed[0] = CODEC_VERSION;
  return packed;
}

function pack(packr: Packr, value: unknown, kind: ValueKind): Uint8Array<ArrayBuffer> {
  return new Uint8Array(versioned(packr, value, kind));
}

function unpack(unpackr: Unpackr, bytes: Uint8Array): unknown {
  if (bytes[0] !== CODEC_VERSION) {
    throw new CabanaError('STORE_CORRUPT', `unknown encoding version ${bytes[0] ?? 'of an empty body'}`);
  }
  try {
    return unpackr.unpack(bytes.subarray(1)) as unknown;
  } catch (error) {
    throw new CabanaError('STORE_CORRUPT', `a body cannot be decoded: ${messageOf(error)}`, { cause: error });
  }
}
