// Who listens to which session, and the bounded queue of each listener.

import { decodeEntry, decodeValue } from '../../protocol/codec.js';
import type { EntryRow } from '../../protocol/journal.js';
import { SUBSCRIBER_MAX_EVENTS } from '../../protocol/limits.js';
import type { JournalEntry, RunInfo } from '../../protocol/session.js';

/** What a subscriber is told. */
export type SessionEvent =
  /** An entry of the history that is on disk. Its seq is what a later subscription resumes from. */
  | { type: 'entry'; seq: number; createdAt: string; entry: JournalEntry }
  /** What a run yielded or emitted. Not kept. */
  | { type: 'event'; runId: string | null; data: unknown }
  | { type: 'run'; run: RunInfo }
  /** The subscriber was too slow: so many events are missing here. Entries can be read again from the history. */
  | { type: 'gap'; missed: number };

/** One subscriber's events, as an async iterator. Bounded: the oldest are dropped, and it is told how many. */
export class EventStream implements AsyncIterableIterator<SessionEvent> {
  readonly #queue: SessionEvent[] = [];
  readonly #maxEvents: number;
  readonly #onClose: () => void;
  #missed = 0;
  #closed = false;
  #wake: (() => void) | null = null;

  constructor(onClose: () => void, maxEvents = SUBSCRIBER_MAX_EVENTS) {
    this.#onClose = onClose;
    this.#maxEvents = maxEvents;
  }

  push(event: SessionEvent): void {
    if (this.#closed) return;
    if (this.#queue.length >= this.#maxEvents) {
      this.#queue.shift();
      this.#missed++;
    }
    this.#queue.push(event);
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<SessionEvent, undefined>> {
    for (;;) {
      if (this.#missed > 0) {
        const missed = this.#missed;
        this.#missed = 0;
        return { done: false, value: { type: 'gap', missed } };
      }
      const event = this.#queue.shift();
      if (event) return { done: false, value: event };
      if (this.#closed) return { done: true, value: undefined };
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = null;
    }
  }

  /** What is queued can still be read; then the iterator ends. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose();
    this.#wake?.();
  }

  async return(): Promise<IteratorResult<SessionEvent, undefined>> {
    this.close();
    this.#queue.length = 0;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

export interface SubscriptionHooks {
  /** The number of a session's subscribers changed. */
  onWatchers(sessionId: string, watchers: number): void;
}

export class Subscriptions {
  readonly #streams = new Map<string, Set<EventStream>>();
  readonly #hooks: SubscriptionHooks;

  constructor(hooks: SubscriptionHooks) {
    this.#hooks = hooks;
  }

  watchers(sessionId: string): number {
    return this.#streams.get(sessionId)?.size ?? 0;
  }

  subscribe(sessionId: string, filter?: (event: SessionEvent) => boolean): EventStream {
    const streams = this.#streams.get(sessionId) ?? new Set();
    const stream = new FilteredStream(() => this.#remove(sessionId, stream), filter);
    streams.add(stream);
    this.#streams.set(sessionId, streams);
    this.#hooks.onWatchers(sessionId, streams.size);
    return stream;
  }

  #remove(sessionId: string, stream: EventStream): void {
    const streams = this.#streams.get(sessionId);
    if (!streams?.delete(stream)) return;
    if (streams.size === 0) this.#streams.delete(sessionId);
    this.#hooks.onWatchers(sessionId, streams.size);
  }

  publish(sessionId: string, event: SessionEvent): void {
    for (const stream of this.#streams.get(sessionId) ?? []) stream.push(event);
  }

  /** Events as a thread sent them, decoded once for all subscribers. */
  publishEncoded(sessionId: string, runId: string | null, events: readonly Uint8Array[]): void {
    if (!this.#streams.has(sessionId)) return;
    for (const bytes of events) this.publish(sessionId, { type: 'event', runId, data: decodeValue(bytes) });
  }

  publishEntries(sessionId: string, rows: readonly EntryRow[]): void {
    if (!this.#streams.has(sessionId)) return;
    for (const row of rows) this.publish(sessionId, entryEvent(row));
  }

  /** Ends the streams of one session, or of all. */
  end(sessionId?: string): void {
    const ids = sessionId === undefined ? [...this.#streams.keys()] : [sessionId];
    for (const id of ids) for (const stream of [...(this.#streams.get(id) ?? [])]) stream.close();
  }
}

class FilteredStream extends EventStream {
  readonly #filter: ((event: SessionEvent) => boolean) | undefined;

  constructor(onClose: () => void, filter: ((event: SessionEvent) => boolean) | undefined) {
    super(onClose);
    this.#filter = filter;
  }

  override push(event: SessionEvent): void {
    if (!this.#filter || this.#filter(event)) super.push(event);
  }
}

export function entryEvent(row: EntryRow): SessionEvent {
  return { type: 'entry', seq: row.seq, createdAt: new Date(row.at).toISOString(), entry: decodeEntry(row.body) };
}
