// The status table: a growable SharedArrayBuffer that main, the agent threads and the store all read and write, so that
// status, counts, progress, interrupts and durability cost no message.
//
//   header          256 bytes   live sessions per status and per state (main), the version of the list (store)
//   thread blocks   128 bytes   one per thread number: heartbeat, what it executes and since when, what it is offered;
//                               crashes, interrupts and migrations (main)
//   session rows    128 bytes   one per session in memory, addressed by slot
//
// Every column has exactly one writer; the types of table-columns.ts refuse any other. (Two words have competing
// writers and methods of their own, using atomic exchanges: a thread's offer, and a row's runNo while it is
// ACTIVATION_OFFERED.) Single words are read and written with Atomics. The columns of a `stats` group are several words
// and are written together by the session's thread under a sequence lock (odd while being written). A slot is reused:
// `generation` grows each time, so whoever kept a slot across an await compares it first.

import { CabanaError } from './errors.js';
import { stateNumber, type SessionState } from './session-state.js';
import type { SessionStatus } from './session.js';
import { TABLE_INITIAL_ROWS, TABLE_MAX_ROWS } from './limits.js';
import {
  ACTIVATION_OFFERED,
  DURABLE_WORD,
  HEADER_BYTES,
  LABEL_MAX_BYTES,
  LABEL_WORD,
  COMMITS_WORD,
  LIST_VERSION_WORD,
  OPERATIONS_WORD,
  OFFER_WORD,
  ROWS_AT,
  ROW_BYTES,
  ROW_COLUMNS,
  STATE_COUNT_WORD,
  STATUS_COUNT_WORD,
  THREAD_BYTES,
  THREAD_COLUMNS,
  THREAD_COUNTS_WORD,
  type RowColumn,
  type RowColumnOf,
  type ThreadColumn,
  type ThreadColumnOf,
  type Writer,
} from './table-columns.js';

const STATUSES = ['idle', 'running', 'error'] as const satisfies readonly SessionStatus[];

/**
 * How long a reader spins on a row that is being written, and how often it then steps aside for a millisecond, so that a
 * writer that was descheduled during it can go on. A thread that died there leaves the row locked for ever.
 */
const LOCK_SPINS = 20_000;
const LOCK_WAITS = 50;
const LOCK_WAIT_MS = 1;
/** A reader that has waited for so long takes the row as it is. */
export const ROW_READ_WAIT_MAX_MS = LOCK_WAITS * LOCK_WAIT_MS;
const NO_LABEL = new Uint8Array(0);

/** What a thread reports of a session, read as one. */
export interface RowStats {
  totalTasks: number;
  totalCostUsd: number;
  /** Milliseconds, or null before the first run. */
  latestLatencyMs: number | null;
  /** 0..1, or null when unknown. */
  progress: number | null;
  label: string;
  cpuMs: number;
  /** Unix milliseconds. */
  updatedAtMs: number;
}

export class StatusTable {
  readonly buffer: SharedArrayBuffer;
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;
  readonly #u8: Uint8Array;
  readonly #i64: BigInt64Array;
  static readonly #decoder = new TextDecoder();
  static readonly #encoder = new TextEncoder();

  /** With a buffer: the view of a thread that was handed it. Without: main makes the table. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer =
      buffer ??
      new SharedArrayBuffer(ROWS_AT + TABLE_INITIAL_ROWS * ROW_BYTES, {
        maxByteLength: ROWS_AT + TABLE_MAX_ROWS * ROW_BYTES,
      });
    // Views without a length follow the buffer as it grows, in every thread.
    this.#i32 = new Int32Array(this.buffer);
    this.#f64 = new Float64Array(this.buffer);
    this.#u8 = new Uint8Array(this.buffer);
    this.#i64 = new BigInt64Array(this.buffer);
  }

  /** Rows that the buffer holds now. */
  get capacityRows(): number {
    return (this.buffer.byteLength - ROWS_AT) / ROW_BYTES;
  }

  /** Doubles the table, in place; main only. False when it is at its maximum. */
  grow(): boolean {
    const rows = Math.min(this.capacityRows * 2, TABLE_MAX_ROWS);
    if (rows === this.capacityRows) return false;
    this.buffer.grow(ROWS_AT + rows * ROW_BYTES);
    return true;
  }

  // --- session rows, word by word

  get(slot: number, column: RowColumn): number {
    const { word, type } = ROW_COLUMNS[column];
    const at = rowWord(slot) + word;
    return type === 'f64' ? this.#f64[at >> 1]! : Atomics.load(this.#i32, at);
  }

  /** One word of a row. `W` names who is writing: a column of another writer does not compile. */
  set<W extends Writer>(_writer: W, slot: number, column: RowColumnOf<W>, value: number): void {
    Atomics.store(this.#i32, rowWord(slot) + ROW_COLUMNS[column].word, value);
  }

  /** The index and array of one word, for a hot path that reads it over and over. */
  wordOf(slot: number, column: RowColumn): { words: Int32Array; index: number } {
    return { words: this.#i32, index: rowWord(slot) + ROW_COLUMNS[column].word };
  }

  /** Clears a row for a new session and returns its new generation; main only. */
  clearRow(slot: number): number {
    const base = rowWord(slot);
    const generation = (Atomics.load(this.#i32, base) + 1) | 0;
    this.#i32.fill(0, base + 1, base + ROW_BYTES / 4);
    Atomics.store(this.#i32, base + ROW_COLUMNS.progress.word, -1);
    this.#f64[(base + ROW_COLUMNS.latestLatencyMs.word) >> 1] = NaN;
    Atomics.store(this.#i32, base, generation);
    return generation;
  }

  /** Main asks a thread to activate the session of this row. */
  offerActivation(slot: number): void {
    Atomics.store(this.#i32, rowWord(slot) + ROW_COLUMNS.runNo.word, ACTIVATION_OFFERED);
  }

  /** True for whoever comes first: the thread, which then activates it, or main, which takes that back. */
  takeActivation(slot: number): boolean {
    const word = rowWord(slot) + ROW_COLUMNS.runNo.word;
    return Atomics.compareExchange(this.#i32, word, ACTIVATION_OFFERED, 0) === ACTIVATION_OFFERED;
  }

  /** Whether nobody has taken it yet. */
  isActivationOffered(slot: number): boolean {
    return this.get(slot, 'runNo') === ACTIVATION_OFFERED;
  }

  // --- the stats group: the session's thread writes, everybody reads

  writeStats(slot: number, stats: RowStats): void {
    const base = rowWord(slot);
    const lock = base + ROW_COLUMNS.lock.word;
    // Before the lock is taken: while it is odd, readers spin. encodeInto() refuses shared memory, and never splits a
    // character.
    const label = stats.label === '' ? NO_LABEL : new Uint8Array(LABEL_MAX_BYTES);
    const { written } = label === NO_LABEL ? { written: 0 } : StatusTable.#encoder.encodeInto(stats.label, label);
    Atomics.add(this.#i32, lock, 1);
    this.#i32[base + ROW_COLUMNS.totalTasks.word] = stats.totalTasks;
    this.#i32[base + ROW_COLUMNS.progress.word] = stats.progress === null ? -1 : Math.round(stats.progress * 1e6);
    this.#f64[(base + ROW_COLUMNS.totalCostUsd.word) >> 1] = stats.totalCostUsd;
    this.#f64[(base + ROW_COLUMNS.latestLatencyMs.word) >> 1] = stats.latestLatencyMs ?? NaN;
    this.#f64[(base + ROW_COLUMNS.cpuMs.word) >> 1] = stats.cpuMs;
    this.#f64[(base + ROW_COLUMNS.updatedAtMs.word) >> 1] = stats.updatedAtMs;
    if (written > 0) this.#u8.set(label.subarray(0, written), (base + LABEL_WORD) * 4);
    this.#i32[base + ROW_COLUMNS.labelBytes.word] = written;
    Atomics.add(this.#i32, lock, 1);
  }

  readStats(slot: number): RowStats {
    const lock = rowWord(slot) + ROW_COLUMNS.lock.word;
    for (let look = 0; ; look++) {
      const before = Atomics.load(this.#i32, lock);
      const last = look >= LOCK_SPINS + LOCK_WAITS;
      if ((before & 1) === 0 || last) {
        const stats = this.#readStatsOnce(slot);
        // Not a load: on ARM the plain reads before one may still complete after it.
        if (Atomics.add(this.#i32, lock, 0) === before || last) return stats;
      }
      if (look >= LOCK_SPINS) Atomics.wait(this.#i32, lock, before, LOCK_WAIT_MS);
    }
  }

  #readStatsOnce(slot: number): RowStats {
    const base = rowWord(slot);
    const progress = this.#i32[base + ROW_COLUMNS.progress.word]!;
    const latency = this.#f64[(base + ROW_COLUMNS.latestLatencyMs.word) >> 1]!;
    const bytes = Math.min(this.#i32[base + ROW_COLUMNS.labelBytes.word]!, LABEL_MAX_BYTES);
    const at = (base + LABEL_WORD) * 4;
    return {
      totalTasks: this.#i32[base + ROW_COLUMNS.totalTasks.word]!,
      totalCostUsd: this.#f64[(base + ROW_COLUMNS.totalCostUsd.word) >> 1]!,
      latestLatencyMs: Number.isNaN(latency) ? null : latency,
      progress: progress < 0 ? null : progress / 1e6,
      // decode() refuses shared memory, so a copy.
      label: bytes === 0 ? '' : StatusTable.#decoder.decode(new Uint8Array(this.#u8.subarray(at, at + bytes))),
      cpuMs: this.#f64[(base + ROW_COLUMNS.cpuMs.word) >> 1]!,
      updatedAtMs: this.#f64[(base + ROW_COLUMNS.updatedAtMs.word) >> 1]!,
    };
  }

  // --- durability: the store writes, everybody reads

  setDurable(slot: number, seq: number, appends: number): void {
    Atomics.store(this.#i64, (rowWord(slot) + DURABLE_WORD) >> 1, (BigInt(appends) << 32n) | BigInt(seq));
  }

  /** The highest seq on disk, and how many of this activation's own appends are; both of the same moment. */
  durable(slot: number): { seq: number; appends: number } {
    const both = Atomics.load(this.#i64, (rowWord(slot) + DURABLE_WORD) >> 1);
    return { seq: Number(both & 0xffffffffn), appends: Number(both >> 32n) };
  }

  // --- counts: main writes, everybody reads

  /** Main's setter of states calls this with what is left and what is entered (null: not in memory). */
  count(from: Counted | null, to: Counted | null): void {
    if (from) this.#count(from, -1);
    if (to) this.#count(to, 1);
  }

  #count({ state, status }: Counted, by: number): void {
    Atomics.add(this.#i32, STATE_COUNT_WORD + stateNumber(state), by);
    Atomics.add(this.#i32, STATUS_COUNT_WORD + STATUSES.indexOf(status), by);
  }

  /** Sessions in memory with this status; one atomic load. */
  countByStatus(status: SessionStatus): number {
    const no = STATUSES.indexOf(status);
    if (no < 0) throw new CabanaError('INVALID_ARGUMENT', `a status is one of ${STATUSES.join(', ')}`);
    return Atomics.load(this.#i32, STATUS_COUNT_WORD + no);
  }

  /** Sessions in memory in this state; one atomic load. */
  countByState(state: SessionState): number {
    return Atomics.load(this.#i32, STATE_COUNT_WORD + stateNumber(state));
  }

  // --- the list: the store writes, everybody reads

  /** Something that lists show of the stored sessions changes: before the change is committed. */
  listChanges(): void {
    Atomics.add(this.#i64, LIST_VERSION_WORD >> 1, 1n);
  }

  /** While it is the same, so is what the store would answer. */
  get listVersion(): bigint {
    return Atomics.load(this.#i64, LIST_VERSION_WORD >> 1);
  }

  // --- the journal: the store writes, everybody reads

  /** A commit held this number of operations: counted before anybody is told. */
  committed(operations: number): void {
    Atomics.add(this.#i64, COMMITS_WORD >> 1, 1n);
    Atomics.add(this.#i64, OPERATIONS_WORD >> 1, BigInt(operations));
  }

  /** Group commits so far, and the operations that were in them. */
  get commits(): { commits: number; operations: number } {
    return {
      commits: Number(Atomics.load(this.#i64, COMMITS_WORD >> 1)),
      operations: Number(Atomics.load(this.#i64, OPERATIONS_WORD >> 1)),
    };
  }

  // --- thread blocks

  getThread(thread: number, column: ThreadColumn): number {
    const { word, type } = THREAD_COLUMNS[column];
    const at = threadWord(thread) + word;
    return type === 'f64' ? this.#f64[at >> 1]! : Atomics.load(this.#i32, at);
  }

  /** Before a thread of this number starts; main only. What main counts goes on. */
  clearThread(thread: number): void {
    this.#i32.fill(0, threadWord(thread), threadWord(thread) + THREAD_COUNTS_WORD);
    this.setThread(thread, 'slot', -1);
    this.setThread(thread, 'culprit', -1);
    this.setThread(thread, 'entered', -1);
  }

  /** Written by the thread itself; by main only while no thread has this number. */
  setThread(thread: number, column: ThreadColumnOf<'thread'>, value: number): void {
    const { word, type } = THREAD_COLUMNS[column];
    const at = threadWord(thread) + word;
    if (type === 'f64') this.#f64[at >> 1] = value;
    else Atomics.store(this.#i32, at, value);
  }

  /** One more of what main counts of the threads of this number; main only. */
  countThread(thread: number, column: ThreadColumnOf<'main'>): void {
    Atomics.add(this.#i32, threadWord(thread) + THREAD_COLUMNS[column].word, 1);
  }

  /** Main offers the thread a run under this number, which is given once. */
  offer(thread: number, no: number): void {
    Atomics.store(this.#i32, threadWord(thread) + OFFER_WORD, no);
  }

  /** True for whoever comes first: the thread, which then begins the run, or main, which takes the offer back. */
  takeOffer(thread: number, no: number): boolean {
    return Atomics.compareExchange(this.#i32, threadWord(thread) + OFFER_WORD, no, 0) === no;
  }

  /** The thread takes whatever it is offered. @returns its number; 0: nothing */
  takeAnyOffer(thread: number): number {
    return Atomics.exchange(this.#i32, threadWord(thread) + OFFER_WORD, 0);
  }
}

/** A session as the counts see it. */
export interface Counted {
  state: SessionState;
  status: SessionStatus;
}

function rowWord(slot: number): number {
  return (ROWS_AT + slot * ROW_BYTES) / 4;
}

function threadWord(thread: number): number {
  return (HEADER_BYTES + thread * THREAD_BYTES) / 4;
}
