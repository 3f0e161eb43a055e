// One activation's history: appends that are on their way to the store before append() returns, and reads from the
// store. Nothing of it stays in memory here; a read goes behind every append of the same thread.

import { decodeEntry, packEntry } from '../protocol/codec.js';
import { CabanaError, isPassing } from '../protocol/errors.js';
import type { EntryRow } from '../protocol/journal.js';
import { ENTRIES_PAGE_ROWS } from '../protocol/limits.js';
import type { JournalEntry } from '../protocol/session.js';
import type { StatusTable } from '../protocol/status-table.js';
import type { AgentHistory, StoredEntry } from './agent.js';
import type { JournalLink, JournalListener } from './journal-link.js';

interface DurableWaiter {
  n: number;
  resolve(): void;
  reject(error: Error): void;
}

/** Whose history it is. Not a function of its own for each: there may be a hundred thousand. */
export interface HistoryOwner {
  /** The store has refused something for good: nothing that comes after it is taken either. */
  onRefused(error: CabanaError): void;
}

export class History implements AgentHistory, JournalListener {
  readonly key: number;
  readonly epoch: number;
  readonly #link: JournalLink;
  readonly #table: StatusTable;
  readonly #slot: number;
  readonly #now: () => number;
  readonly #owner: HistoryOwner;
  /** Entries appended by this activation, and how many of them are known to be on disk. */
  #n = 0;
  #durableN = 0;
  #waiters: DurableWaiter[] | null = null;
  /** Set when the store refused what this activation wrote: it may write no more. */
  #refused: CabanaError | null = null;
  /** Set when the activation has left memory: its row of the table is another session's then. */
  #durableAtEnd: { seq: number; appends: number } | null = null;

  constructor(
    link: JournalLink,
    table: StatusTable,
    place: { key: number; epoch: number; slot: number },
    now: () => number,
    owner: HistoryOwner,
  ) {
    this.#link = link;
    this.#table = table;
    this.key = place.key;
    this.epoch = place.epoch;
    this.#slot = place.slot;
    this.#now = now;
    this.#owner = owner;
    link.listen(this.key, this);
  }

  /** Entries appended by this activation: the fence of its next operation. */
  get n(): number {
    return this.#n;
  }

  get length(): number {
    const { seq, appends } = this.#durable;
    return seq + (this.#n - appends);
  }

  get durableSeq(): number {
    return this.#durable.seq;
  }

  get #durable(): { seq: number; appends: number } {
    return this.#durableAtEnd ?? this.#table.durable(this.#slot);
  }

  append(entry: JournalEntry): void | Promise<void> {
    const body = packEntry(entry);
    this.assertWritable();
    this.#link.assertRoom(body.byteLength);
    return this.appendOwn(body);
  }

  /** Sends an encoded entry without checking for room: append() after its checks, and the host's own entries. */
  appendOwn(body: Uint8Array): void | Promise<void> {
    const n = this.#n + 1;
    this.#link.append({ kind: 'append', at: this.#now(), body, key: this.key, epoch: this.epoch, n });
    // Only now: at the end of the stack it may throw, and what was not sent must not count.
    this.#n = n;
    this.#table.set('thread', this.#slot, 'historySeq', this.length);
    return this.#link.room();
  }

  /** The fence of an operation that adds no entry. */
  fence(): { key: number; epoch: number; n: number } {
    return { key: this.key, epoch: this.epoch, n: this.#n };
  }

  /** The fence of an operation that adds an entry of the host's (a run's outcome). */
  nextFence(): { key: number; epoch: number; n: number } {
    this.#n += 1;
    this.#table.set('thread', this.#slot, 'historySeq', this.length);
    return this.fence();
  }

  /** @throws CabanaError STALE_EPOCH: this activation was superseded */
  assertWritable(): void {
    const end = this.#end();
    if (end) throw new CabanaError(end.code, end.message, { cause: end });
  }

  /** Why this activation may write no more; null: it may. */
  #end(): CabanaError | null {
    return (
      this.#refused ?? (this.#durableAtEnd ? new CabanaError('STALE_EPOCH', 'this activation has left memory') : null)
    );
  }

  async *entries(options: { from?: number; limit?: number } = {}): AsyncIterableIterator<StoredEntry> {
    let from = options.from ?? 1;
    let left = options.limit ?? Infinity;
    if (!Number.isInteger(from) || from < 1) throw new CabanaError('INVALID_ARGUMENT', 'from is a seq: 1 or more');
    if (left !== Infinity && !(Number.isInteger(left) && left >= 0))
      throw new CabanaError('INVALID_ARGUMENT', 'limit is a count');
    while (left > 0) {
      const ask = Math.min(left, ENTRIES_PAGE_ROWS);
      // Before it is asked: entries that are committed after the page was read prove nothing.
      const { durableSeq } = this;
      const rows = await this.#link.read(this.key, from, ask);
      // The store has them without gaps; a deleted session's are removed bit by bit.
      if (rows.length > 0 ? rows.at(-1)!.seq !== from + rows.length - 1 : from <= durableSeq) {
        throw new CabanaError('STALE_EPOCH', 'the session was deleted');
      }
      if (rows.length === 0) return;
      for (const row of rows) yield storedEntry(row);
      left -= rows.length;
      from = rows.at(-1)!.seq + 1;
    }
  }

  durable(): Promise<void> {
    const end = this.#end();
    if (end) return Promise.reject(end);
    const n = this.#n;
    if (n <= this.#durableN || n <= this.#durable.appends) return Promise.resolve();
    return new Promise((resolve, reject) => (this.#waiters ??= []).push({ n, resolve, reject }));
  }

  onDurable(n: number): void {
    if (n > this.#durableN) this.#durableN = n;
    if (!this.#waiters) return;
    const left: DurableWaiter[] = [];
    for (const waiter of this.#waiters) {
      if (waiter.n <= this.#durableN) waiter.resolve();
      else left.push(waiter);
    }
    this.#waiters = left.length > 0 ? left : null;
  }

  /** A full disk keeps what was appended and tries again; every other refusal is final. */
  onRefused(error: CabanaError): void {
    // What only waits, for room or for another process, is kept by the store and tried again.
    if (!isPassing(error) && !this.#refused) {
      this.#refused = error;
      this.#owner.onRefused(error);
    }
    const waiters = this.#waiters ?? [];
    this.#waiters = null;
    for (const waiter of waiters) waiter.reject(error);
  }

  close(): void {
    this.#link.unlisten(this.key, this);
    this.#durableAtEnd ??= this.#table.durable(this.#slot);
    for (const waiter of this.#waiters ?? []) waiter.reject(this.#end()!);
    this.#waiters = null;
  }
}

/** The last instant that was written out: entries of one commit often share theirs. */
let instant = { at: 0, text: new Date(0).toISOString() };

export function storedEntry(row: EntryRow): StoredEntry {
  if (row.at !== instant.at) instant = { at: row.at, text: new Date(row.at).toISOString() };
  return Object.assign(decodeEntry(row.body), { seq: row.seq, created_at: instant.text });
}
