// What an agent thread and the store thread say to each other: appended entries through shared memory (journal-ring.ts),
// everything else over a MessagePort of their own; plain tagged messages, in one order.
//
// Numbers: `key` is the store's number of a session, `epoch` its activation, `n` counts the entries that this activation
// has appended (the first is 1). The store gives every entry its seq when it writes it, because main's entries (a run's
// input is journaled when it is accepted, whether or not the thread can listen) interleave with the agent's.

import type { WireError } from './errors.js';
import { OP_OVERHEAD_BYTES } from './limits.js';
import type { RunState, SessionRecord, SessionStats } from './session.js';

/** Whether an entry was written by the host for a run's input, by the agent, or by the host for a run's outcome. */
export const ENTRY_KIND = { input: 1, agent: 2, outcome: 3 } as const;

/** Identifies the writer of an operation; the store refuses a superseded epoch. */
export interface Fence {
  key: number;
  epoch: number;
  /** Entries appended by this activation, the operation's own included. */
  n: number;
}

export type JournalRequest =
  | { kind: 'load'; request: number; sessionId: string; slot: number; generation: number }
  /** One entry. `body` is encoded by codec.ts and goes to disk and to subscribers as it is. */
  | ({ kind: 'append'; at: number; body: Uint8Array } & Fence)
  /** The run begins: from here on a crash of the process cuts it off. */
  | ({ kind: 'start'; at: number; runId: string } & Fence)
  /** The run's outcome and, with it, the snapshot: one transaction. */
  | ({ kind: 'end'; at: number } & Fence & RunEnd)
  /** A snapshot on its own. Answered by `saved`. */
  | ({ kind: 'save'; request: number; at: number; body: Uint8Array; stats: SessionStats | null } & Fence)
  /** `calledAt`: when the agent gave the name, by instant.ts; it may be written later. */
  | ({ kind: 'rename'; at: number; name: string; calledAt: number } & Fence)
  /** Entries from seq `from` on. Sees everything this thread posted before. */
  | { kind: 'read'; request: number; key: number; from: number; limit: number };

/**
 * What an operation counts in its thread's backlog, in bytes: added by the thread when it sends it, given back by the store
 * when it is dealt with.
 */
export function weightOf(request: JournalRequest): number {
  switch (request.kind) {
    case 'load':
    case 'read':
      return 0;
    case 'start':
    case 'rename':
      return OP_OVERHEAD_BYTES;
    case 'append':
    case 'save':
      return OP_OVERHEAD_BYTES + request.body.byteLength;
    case 'end': {
      const { entry, output, snapshot } = request;
      return OP_OVERHEAD_BYTES + entry.byteLength + (output?.byteLength ?? 0) + (snapshot?.byteLength ?? 0);
    }
    default:
      return request satisfies never;
  }
}

/** What travels back over a link: one message, or several in their order. */
export type Batch<T> = T | T[];

export interface RunEnd {
  runId: string;
  state: Extract<RunState, 'completed' | 'failed' | 'interrupted'>;
  /** The outcome as an entry of the history. */
  entry: Uint8Array;
  output: Uint8Array | null;
  error: string | null;
  code: string | null;
  stats: SessionStats;
  /** Null: the profile saves only when leaving memory, or its save threw. */
  snapshot: Uint8Array | null;
}

/** A stored entry on its way to a reader. */
export interface EntryRow {
  seq: number;
  /** Unix milliseconds. */
  at: number;
  kind: number;
  body: Uint8Array;
}

/** Entries in two buffers that are handed over instead of copied: a history of many small ones is dear to clone. */
export interface PackedRows {
  /** Four numbers a row: seq, at, kind, and the length of its body. */
  meta: Float64Array<ArrayBuffer>;
  /** The bodies, one behind the other. */
  bodies: Uint8Array<ArrayBuffer>;
}

const META_NUMBERS = 4;

export function packRows(rows: readonly EntryRow[]): PackedRows {
  const meta = new Float64Array(rows.length * META_NUMBERS);
  const bodies = new Uint8Array(rows.reduce((sum, row) => sum + row.body.byteLength, 0));
  let at = 0;
  for (const [i, row] of rows.entries()) {
    const m = i * META_NUMBERS;
    meta[m] = row.seq;
    meta[m + 1] = row.at;
    meta[m + 2] = row.kind;
    meta[m + 3] = row.body.byteLength;
    bodies.set(row.body, at);
    at += row.body.byteLength;
  }
  return { meta, bodies };
}

/** Their bodies are views of the packed ones. */
export function unpackRows({ meta, bodies }: PackedRows): EntryRow[] {
  const rows: EntryRow[] = [];
  let at = 0;
  for (let m = 0; m < meta.length; m += META_NUMBERS) {
    const end = at + meta[m + 3]!;
    rows.push({ seq: meta[m]!, at: meta[m + 1]!, kind: meta[m + 2]!, body: bodies.subarray(at, end) });
    at = end;
  }
  return rows;
}

/** What an activation starts from. */
export interface Loaded {
  key: number;
  epoch: number;
  record: SessionRecord;
  snapshot: Uint8Array | null;
  /**
   * Entries after the snapshot, but for the inputs of runs that have yet to start, which will be given them, or never
   * did. Of a long tail the first ones; the others are to be read.
   */
  tail: EntryRow[];
  /** The first of those others (up to `seq`), and the inputs among them that are not of the tail; null: there are none. */
  rest: { from: number; without: number[] } | null;
  /** Highest seq on disk. */
  seq: number;
}

export type JournalReply =
  | { kind: 'loaded'; request: number; loaded: (Omit<Loaded, 'tail'> & { tail: PackedRows }) | null }
  | { kind: 'saved'; request: number }
  | { kind: 'entries'; request: number; rows: PackedRows }
  | { kind: 'failed'; request: number; error: WireError }
  /** Triples of key, epoch and n: that activation's entries up to n are on disk. */
  | { kind: 'durable'; acks: number[] }
  /** What this activation wrote is refused: for good (STALE_EPOCH), or until there is room (STORE_FULL). */
  | { kind: 'refused'; key: number; epoch: number; error: WireError };
