// The store's interface: what is written and read, free of any database. One contract suite runs on every store.
//
// Writes are operations; commit() applies a batch of them as one durable transaction. An operation can be refused on its
// own (a superseded epoch, an unknown session): its result is then an error and the others are not touched. When the
// transaction as a whole fails, nothing of it happened.

import type { CabanaError } from '../../protocol/errors.js';
import type { EntryRow, JournalRequest, Loaded } from '../../protocol/journal.js';
import type {
  AcceptRequest,
  Accepted,
  EndRunRequest,
  RecoverRequest,
  Recovered,
  SessionUpdate,
  StoredRun,
  Updated,
} from '../../protocol/control.js';
import type { ListedPage } from '../../protocol/record-page.js';
import type { ListQuery, SessionRecord } from '../../protocol/session.js';

export type WriteOp =
  | { kind: 'create'; record: SessionRecord }
  /** Takes the next epoch and reads what the activation starts from. */
  | { kind: 'load'; sessionId: string }
  /** What agent threads send. */
  | Extract<JournalRequest, { kind: 'append' | 'start' | 'end' | 'rename' }>
  | Omit<Extract<JournalRequest, { kind: 'save' }>, 'request'>
  | ({ kind: 'accept' } & AcceptRequest)
  /** Ends a run without its thread. If it was running, its activation is fenced off by a new epoch. */
  | ({ kind: 'endRun' } & EndRunRequest)
  /** A running run is queued again, its activation fenced off; an ended one stays ended. */
  | { kind: 'requeue'; sessionId: string; runId: string; ifUnstarted: boolean }
  | { kind: 'update'; sessionId: string; fields: SessionUpdate; at: number }
  /** `erase`: without a tombstone, as if it had never been. */
  | { kind: 'remove'; sessionId: string; at: number; erase?: boolean }
  /** The activation is over: what is kept for it in memory may go. */
  | { kind: 'release'; sessionId: string; epoch: number | null };

/** Where a session's journal stands after an operation. */
export interface Head {
  sessionId: string;
  key: number;
  epoch: number;
  /** Entries appended by this epoch. */
  n: number;
  /** Highest seq. */
  seq: number;
  /** When a user last named the session, by instant.ts: what the agent named it before that comes too late. */
  namedAt?: number;
}

/** What an operation did. Only the fields that apply to it are there. */
export interface Written {
  head?: Head;
  /** The entry it added to the history of the session `sessionId`. */
  entry?: EntryRow;
  sessionId?: string;
  loaded?: Loaded | null;
  accepted?: Accepted;
  /** A run that is in its final state now. */
  ended?: StoredRun;
  /** Of `update`; null: there is no such session. */
  updated?: Updated | null;
  /** Of `remove`: whether there was such a session. */
  removed?: boolean;
  /** Of `requeue`: whether the run is queued now. */
  requeued?: boolean;
}

export type OpResult = { ok: Written } | { error: CabanaError };

export interface Store {
  /**
   * One transaction, durable when this resolves; but one of nothing but `load` and `start` operations is durable only
   * after the next one, or sync(). Results are in the order of the operations.
   * @throws CabanaError STORE_FULL (may be tried again), STORE_IO (final), INTERNAL (one of the operations is wrong)
   */
  commit(ops: readonly WriteOp[]): Promise<OpResult[]>;
  /** Ends or requeues the runs that an earlier process left open. */
  recover(request: RecoverRequest): Promise<Recovered>;
  record(sessionId: string): Promise<SessionRecord | null>;
  page(query: ListQuery): Promise<ListedPage>;
  /** The newest n of each source: `max` in all at most, and no more work than for those. */
  newest(n: number, max: number): Promise<string[]>;
  cronCount(): Promise<number>;
  /**
   * Entries of a session from seq `from` on, oldest first: at most `limit` and ENTRIES_PAGE_MAX_BYTES. None: there are
   * no more. @throws CabanaError STORE_CORRUPT
   */
  entries(key: number, from: number, limit: number): Promise<EntryRow[]>;
  /** The newest entries below seq `before` (null: of all), oldest first, likewise. @throws CabanaError STORE_CORRUPT */
  entriesBefore(key: number, before: number | null, limit: number): Promise<EntryRow[]>;
  /** The highest seq of a history; 0: it has no entry. */
  lastSeq(key: number): Promise<number>;
  /** The number of a session, for entries(); null: there is none, or it was deleted. */
  keyOf(sessionId: string): Promise<number | null>;
  run(sessionId: string, runId: string): Promise<StoredRun | null>;
  /** Removes a bounded part of what deleted sessions left; false: nothing is left to do. */
  purge(): Promise<boolean>;
  /** Whether something was committed that is not durable yet. */
  readonly unsynced: boolean;
  /** Makes everything committed durable. @throws CabanaError STORE_IO */
  sync(): Promise<void>;
  /** Whether upkeep() has something to do. */
  readonly upkeepDue: boolean;
  /** Work that nobody waits for, to be done between two commits. @throws CabanaError STORE_IO */
  upkeep(): Promise<void>;
  /** From here on whatever can be left to the next start is. */
  drain(): void;
  close(): Promise<void>;
}
