// The layout of the status table: its columns by name, where each is, its one writer and what it says. (How they are read
// and written: status-table.ts.)

import { STAND_INS_MAX_THREADS, THREADS_MAX_THREADS } from './limits.js';

export type Writer = 'main' | 'thread' | 'store';

interface Column {
  /** Index of the 32-bit word within the row; an f64 column takes this word and the next, and is aligned. */
  word: number;
  type: 'i32' | 'f64';
  writer: Writer;
  /** 'stats': read and written under the row's sequence lock. */
  group?: 'stats';
  doc: string;
}

export const ROW_COLUMNS = {
  generation: { word: 0, type: 'i32', writer: 'main', doc: 'Grows when the slot is given to another session.' },
  state: { word: 1, type: 'i32', writer: 'main', doc: 'A number of session-state.ts.' },
  begunNo: {
    word: 2,
    type: 'i32',
    writer: 'thread',
    doc: 'The run (or compaction) that its thread began last, by its host-wide number; 0: none.',
  },
  runNo: {
    word: 3,
    type: 'i32',
    writer: 'main',
    doc: 'The run being executed, by its host-wide number; 0: none; ACTIVATION_OFFERED. In a free row: see slots.ts.',
  },
  interruptRunNo: { word: 4, type: 'i32', writer: 'main', doc: 'The run that is asked to stop; 0: none.' },
  interruptReason: {
    word: 29,
    type: 'i32',
    writer: 'main',
    doc: 'Why, by the numbers of interrupt.ts; written before interruptRunNo.',
  },
  watchers: { word: 5, type: 'i32', writer: 'main', doc: 'Subscribers. While it is 0, events need not be sent.' },
  lock: { word: 6, type: 'i32', writer: 'thread', doc: 'Sequence lock of the stats group; odd while it is written.' },
  historySeq: {
    word: 7,
    type: 'i32',
    writer: 'thread',
    doc: 'Entries of the history, those not yet on disk included.',
  },
  totalTasks: { word: 8, type: 'i32', writer: 'thread', group: 'stats', doc: 'Runs that ended.' },
  progress: {
    word: 9,
    type: 'i32',
    writer: 'thread',
    group: 'stats',
    doc: 'Millionths of the current run; -1: unknown.',
  },
  totalCostUsd: { word: 10, type: 'f64', writer: 'thread', group: 'stats', doc: 'US dollars.' },
  latestLatencyMs: { word: 12, type: 'f64', writer: 'thread', group: 'stats', doc: 'Milliseconds; NaN: none yet.' },
  cpuMs: {
    word: 14,
    type: 'f64',
    writer: 'thread',
    group: 'stats',
    doc: 'CPU milliseconds used by runs since activation.',
  },
  updatedAtMs: {
    word: 16,
    type: 'f64',
    writer: 'thread',
    group: 'stats',
    doc: 'Unix milliseconds of the last change.',
  },
  crashes: {
    word: 26,
    type: 'i32',
    writer: 'main',
    doc: 'How often it took its thread down or did not mind an interrupt, since it came into memory.',
  },
  interrupts: {
    word: 27,
    type: 'i32',
    writer: 'main',
    doc: 'Runs that were asked to stop, since it came into memory.',
  },
  migrations: { word: 28, type: 'i32', writer: 'main', doc: 'Moves to another thread, since it came into memory.' },
  labelBytes: { word: 18, type: 'i32', writer: 'thread', group: 'stats', doc: 'Length of the progress label.' },
} as const satisfies Record<string, Column>;

// The progress label is 27 bytes of UTF-8 in words 19 to 25; words 30 and 31 are one 64-bit word of the store's:
// durableSeq in the low half, the number of this activation's durable appends in the high half, read as one.
export const LABEL_WORD = 19;
export const LABEL_MAX_BYTES = 27;
export const DURABLE_WORD = 30;

/** As `culprit`: an activation that has left memory, whose slot may be another session's by now. */
export const CULPRIT_LEFT = -2;

export const THREAD_COLUMNS = {
  heartbeat: {
    word: 0,
    type: 'i32',
    writer: 'thread',
    doc: 'Grows at every turn of the event loop that a timer takes.',
  },
  slot: { word: 1, type: 'i32', writer: 'thread', doc: 'The slot whose code holds the thread now, or -1.' },
  runNo: { word: 2, type: 'i32', writer: 'thread', doc: 'The run that holds the thread now, or 0.' },
  yieldedNo: {
    word: 18,
    type: 'i32',
    writer: 'thread',
    doc: 'The cpu run that waits in a yield: it has given the thread up, whoever has it now. 0: none.',
  },
  sessions: { word: 3, type: 'i32', writer: 'thread', doc: 'Activations in this thread.' },
  culprit: {
    word: 10,
    type: 'i32',
    writer: 'thread',
    doc: 'The slot whose code is taking the thread down; -1: none yet; CULPRIT_LEFT.',
  },
  entered: {
    word: 17,
    type: 'i32',
    writer: 'thread',
    doc: 'The slot whose code was called and has neither returned nor awaited anything, or -1.',
  },
  runs: { word: 11, type: 'i32', writer: 'thread', doc: 'Runs that ended here.' },
  sinceMs: { word: 4, type: 'f64', writer: 'thread', doc: 'Unix milliseconds since when `slot` holds the thread.' },
  heapUsedBytes: { word: 6, type: 'f64', writer: 'thread', doc: 'Used heap at the last heartbeat.' },
  heapLimitBytes: { word: 12, type: 'f64', writer: 'thread', doc: 'What the heap may grow to.' },
  cpuMs: {
    word: 14,
    type: 'f64',
    writer: 'thread',
    doc: 'CPU milliseconds of the thread so far, at the last heartbeat.',
  },
  elu: { word: 8, type: 'f64', writer: 'thread', doc: 'Event-loop utilization 0..1 between the last two heartbeats.' },
  // What main counts belongs to the number, whichever thread has it: from THREAD_COUNTS_WORD on.
  crashes: { word: 28, type: 'i32', writer: 'main', doc: 'Threads of this number that died or were given up.' },
  interrupts: { word: 29, type: 'i32', writer: 'main', doc: 'Runs that were asked to stop there.' },
  migrations: { word: 30, type: 'i32', writer: 'main', doc: 'Sessions that moved from there to another thread.' },
} as const satisfies Record<string, Column>;

/** From here on a thread block is not cleared when its number gets another thread. */
export const THREAD_COUNTS_WORD = 28;

/** As a row's runNo: its thread has been asked to activate the session, and has not begun. */
export const ACTIVATION_OFFERED = -1;

/** In the thread block: the number of the run that the thread may begin by itself, or 0. */
export const OFFER_WORD = 16;

export type RowColumn = keyof typeof ROW_COLUMNS;
export type ThreadColumn = keyof typeof THREAD_COLUMNS;
export type ThreadColumnOf<W extends Writer> = {
  [C in ThreadColumn]: (typeof THREAD_COLUMNS)[C]['writer'] extends W ? C : never;
}[ThreadColumn];
/** The row columns that a writer may write one by one (the stats group is written as a whole). */
export type RowColumnOf<W extends Writer> = {
  [C in RowColumn]: (typeof ROW_COLUMNS)[C] extends { writer: W; group: 'stats' }
    ? never
    : (typeof ROW_COLUMNS)[C] extends { writer: W; type: 'i32' }
      ? C
      : never;
}[RowColumn];

export const HEADER_BYTES = 256;
export const THREAD_BYTES = 128;
export const ROW_BYTES = 128;
export const ROWS_AT = HEADER_BYTES + (THREADS_MAX_THREADS + STAND_INS_MAX_THREADS) * THREAD_BYTES;
export const STATUS_COUNT_WORD = 0;
export const STATE_COUNT_WORD = 8;
/** Two words each, read and written as one. */
export const LIST_VERSION_WORD = 32;
export const COMMITS_WORD = 34;
export const OPERATIONS_WORD = 36;
