// Events on their way from a thread to main: a batch is one run of bytes, which main decodes in one go, and only if
// somebody reads it. It is an array of MessagePack (array 32), and behind it where each of its events ends, 4 bytes each:
// with that, one that cannot be decoded costs the others nothing.

import { packEvent, unpackBare } from './codec.js';

/** In the place of an event that cannot be decoded. */
export const UNREADABLE = Symbol('unreadable event');

/** A type byte and the number of elements, which is known at the end. */
const HEADER_BYTES = 5;
const HEADER_TYPE = 0xdd;
const END_BYTES = 4;
const BUFFER_FIRST_BYTES = 16 * 1024;
/** A buffer that a large event has made larger is not kept. */
const BUFFER_KEPT_BYTES = 256 * 1024;

/** Gathers events. Each is encoded as it is added: the agent may change the object afterwards. */
export class EventPacker {
  #buffer = new Uint8Array(BUFFER_FIRST_BYTES);
  #at = HEADER_BYTES;
  #ends: number[] = [];

  get byteLength(): number {
    return this.#at + END_BYTES * this.#ends.length;
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
  take(): Uint8Array {
    const batch = new Uint8Array(this.byteLength);
    batch.set(this.#buffer.subarray(0, this.#at));
    const view = new DataView(batch.buffer);
    view.setUint8(0, HEADER_TYPE);
    view.setUint32(1, this.#ends.length);
    for (let i = 0; i < this.#ends.length; i++) view.setUint32(this.#at + END_BYTES * i, this.#ends[i]!);
    this.#at = HEADER_BYTES;
    this.#ends = [];
    if (this.#buffer.byteLength > BUFFER_KEPT_BYTES) this.#buffer = new Uint8Array(BUFFER_FIRST_BYTES);
    return batch;
  }

  #grow(bytes: number): void {
    const grown = new Uint8Array(Math.max(bytes, 2 * this.#buffer.byteLength));
    grown.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = grown;
  }
}

export function countOf(batch: Uint8Array): number {
  return viewOf(batch).getUint32(1);
}

/** The events of a batch; UNREADABLE for each that cannot be decoded. */
export function unpackEvents(batch: Uint8Array): unknown[] {
  const view = viewOf(batch);
  const count = countOf(batch);
  const table = batch.byteLength - END_BYTES * count;
  try {
    return unpackBare(batch.subarray(0, table)) as unknown[];
  } catch {
    // One of them: it is found below.
  }
  const events: unknown[] = [];
  for (let i = 0, start = HEADER_BYTES; i < count; i++) {
    const end = view.getUint32(table + END_BYTES * i);
    events.push(unpackOne(batch.subarray(start, end)));
    start = end;
  }
  return events;
}

function viewOf(batch: Uint8Array): DataView {
  return new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
}

function unpackOne(bytes: Uint8Array): unknown {
  try {
    return unpackBare(bytes);
  } catch {
    return UNREADABLE;
  }
}
