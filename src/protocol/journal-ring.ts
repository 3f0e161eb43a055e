// The shared memory of an agent thread's link to the store: a ring of appended entries, and a few counters beside it.
//
// One thread writes, one reads. An entry is in the ring when append() returns, whatever becomes of its thread, and costs
// no message: the store looks into the ring before every commit, and is woken only when it sleeps. Everything else, and
// what finds no room, travels as a post over the link's port. Each post says where in the ring it belongs, so that the
// two make one sequence:
//
//   the writer    first posts, then counts the post, then publishes later entries
//   the reader    first looks how far the ring is written, then takes in as many posts as are counted: every post that
//                 belongs before one of those entries is among them
//
// Positions count bytes from the beginning and wrap at 2^32; a record lies at its position modulo the ring's size, in
// one piece.

import type { JournalRequest } from './journal.js';
import { JOURNAL_RING_BYTES, JOURNAL_RING_ENTRY_MAX_BYTES } from './limits.js';

export type Append = Extract<JournalRequest, { kind: 'append' }>;

/** What travels over the port to the store; null only wakes it. */
export type JournalPost = {
  /** The position in the ring that it belongs before. */
  at: number;
  requests: JournalRequest[];
} | null;

/** Words of the header. */
const WRITTEN = 0;
const READ = 1;
const POSTS = 2;
const ASLEEP = 3;
const CREDIT = 4;
const HEADER_BYTES = 64;

/** A record: its length, then four doubles (at, key, epoch, n), then the body. A multiple of 8 bytes in all. */
const RECORD_HEADER_BYTES = 40;
/** In the place of a length: the rest up to the ring's end is empty. */
const SKIP = -1;

export function newJournalRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + JOURNAL_RING_BYTES);
}

class Ring {
  protected readonly words: Int32Array;
  protected readonly bytes: Uint8Array;
  protected readonly lengths: Int32Array;
  protected readonly numbers: Float64Array;

  constructor(shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared, 0, HEADER_BYTES / 4);
    this.bytes = new Uint8Array(shared, HEADER_BYTES);
    this.lengths = new Int32Array(shared, HEADER_BYTES);
    this.numbers = new Float64Array(shared, HEADER_BYTES);
  }
}

/** The agent thread's end. */
export class RingWriter extends Ring {
  /** How far it has written: what is posted now belongs before this. */
  position = 0;

  /** False: there is no room, or the entry is too large for a ring. */
  write({ at, key, epoch, n, body }: Append): boolean {
    if (body.byteLength > JOURNAL_RING_ENTRY_MAX_BYTES) return false;
    const length = RECORD_HEADER_BYTES + body.byteLength;
    const size = (length + 7) & ~7;
    const start = this.position % JOURNAL_RING_BYTES;
    const skipped = start + size > JOURNAL_RING_BYTES ? JOURNAL_RING_BYTES - start : 0;
    const used = (this.position - Atomics.load(this.words, READ)) >>> 0;
    if (used + skipped + size > JOURNAL_RING_BYTES) return false;
    if (skipped > 0) this.lengths[start / 4] = SKIP;
    const index = skipped > 0 ? 0 : start;
    this.lengths[index / 4] = length;
    const number = index / 8 + 1;
    this.numbers[number] = at;
    this.numbers[number + 1] = key;
    this.numbers[number + 2] = epoch;
    this.numbers[number + 3] = n;
    this.bytes.set(body, index + RECORD_HEADER_BYTES);
    this.position = (this.position + skipped + size) >>> 0;
    // Publishes what was written above.
    Atomics.store(this.words, WRITTEN, this.position | 0);
    return true;
  }

  /** Whether the reader sleeps and has to be woken; asked after a write. It is told once. */
  takeSleep(): boolean {
    return Atomics.load(this.words, ASLEEP) === 1 && Atomics.exchange(this.words, ASLEEP, 0) === 1;
  }

  /** Counts a post that has been posted. */
  countPost(): void {
    Atomics.add(this.words, POSTS, 1);
  }

  /** Bytes of operations that the store has dealt with, wrapping at 2^32: seen even by code that never yields. */
  get credit(): number {
    return Atomics.load(this.words, CREDIT);
  }
}

/** The store's end. */
export class RingReader extends Ring {
  #position = 0;

  /** How far it has read. */
  get position(): number {
    return this.#position;
  }

  /** How far it is written. Looked at before `posts`. */
  get written(): number {
    return Atomics.load(this.words, WRITTEN) >>> 0;
  }

  /** Posts so far, wrapping at 2^32. */
  get posts(): number {
    return Atomics.load(this.words, POSTS);
  }

  /** The next entry; its room is free afterwards. Only if more is written than read. */
  read(): Append {
    let index = this.#position % JOURNAL_RING_BYTES;
    if (this.lengths[index / 4] === SKIP) {
      this.#position = (this.#position + JOURNAL_RING_BYTES - index) >>> 0;
      index = 0;
    }
    const length = this.lengths[index / 4]!;
    const number = index / 8 + 1;
    const append: Append = {
      kind: 'append',
      at: this.numbers[number]!,
      key: this.numbers[number + 1]!,
      epoch: this.numbers[number + 2]!,
      n: this.numbers[number + 3]!,
      // A copy that is not shared, which the thread cannot write over.
      body: new Uint8Array(this.bytes.subarray(index + RECORD_HEADER_BYTES, index + length)),
    };
    this.#position = (this.#position + ((length + 7) & ~7)) >>> 0;
    Atomics.store(this.words, READ, this.#position | 0);
    return append;
  }

  /** From now on the next write wakes the reader, who looks into the ring once more before it sleeps. */
  sleep(): void {
    Atomics.store(this.words, ASLEEP, 1);
  }

  give(bytes: number): void {
    Atomics.add(this.words, CREDIT, bytes);
  }
}
