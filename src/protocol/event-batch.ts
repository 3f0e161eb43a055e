// Events on their way from a thread to main, encoded one after the other behind the header of one array: main decodes a
// batch in one go, and only if somebody reads it.

import { packEvent, unpackBare } from './codec.js';

export interface PackedEvents {
  /** One MessagePack array. */
  bytes: Uint8Array;
  /** Where each event ends in it. */
  ends: Uint32Array;
}

/** In the place of an event that cannot be decoded. */
export const UNREADABLE = Symbol('unreadable event');

/** array 32: a type byte and the number of elements, which is known at the end. */
const HEADER_BYTES = 5;
const HEADER_TYPE = 0xdd;
const BUFFER_FIRST_BYTES = 16 * 1024;
/** A buffer that a large event has made larger is not kept. */
const BUFFER_KEPT_BYTES = 256 * 1024;

/** Gathers events. Each is encoded as it is added: the agent may change the object afterwards. */
export class EventPacker {
  #buffer = new Uint8Array(BUFFER_FIRST_BYTES);
  #at = HEADER_BYTES;
  #ends: number[] = [];

  get count(): number {
    return this.#ends.length;
  }

  get byteLength(): number {
    return this.#at;
  }

  /** @returns the event's bytes. @throws CabanaError VALUE_NOT_ENCODABLE, PAYLOAD_TOO_LARGE; nothing is added then */
  add(event: unknown): number {
    const packed = packEvent(event);
    const end = this.#at + packed.byteLength;
    if (end > this.#buffer.byteLength) this.#grow(end);
    this.#buffer.set(packed, this.#at);
    this.#at = end;
    this.#ends.push(end);
    return packed.byteLength;
  }

  /** Everything added so far, in memory of its own; the packer is empty then. */
  take(): PackedEvents {
    const bytes = this.#buffer.slice(0, this.#at);
    bytes[0] = HEADER_TYPE;
    new DataView(bytes.buffer).setUint32(1, this.#ends.length);
    const ends = Uint32Array.from(this.#ends);
    this.#at = HEADER_BYTES;
    this.#ends = [];
    if (this.#buffer.byteLength > BUFFER_KEPT_BYTES) this.#buffer = new Uint8Array(BUFFER_FIRST_BYTES);
    return { bytes, ends };
  }

  #grow(bytes: number): void {
    const grown = new Uint8Array(Math.max(bytes, 2 * this.#buffer.byteLength));
    grown.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = grown;
  }
}

/** The events of a batch; UNREADABLE for each that cannot be decoded, which costs the others nothing. */
export function unpackEvents({ bytes, ends }: PackedEvents): unknown[] {
  try {
    const events = unpackBare(bytes) as unknown[];
    if (events.length === ends.length) return events;
  } catch {
    // One of them: it is found below.
  }
  return Array.from(ends, (end, i) => unpackOne(bytes.subarray(ends[i - 1] ?? HEADER_BYTES, end)));
}

function unpackOne(bytes: Uint8Array): unknown {
  try {
    return unpackBare(bytes);
  } catch {
    return UNREADABLE;
  }
}
