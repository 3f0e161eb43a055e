// Who listens to which session.

import { decodeEntry } from '../../../protocol/codec.js';
import { UNREADABLE, countOf, unpackEvents } from '../../../protocol/event-batch.js';
import type { EntryRow } from '../../../protocol/journal.js';
import { EventStream, type EventBatch, type SessionEvent } from './event-stream.js';

export interface SubscriptionHooks {
  /** The number of a session's subscribers changed. */
  onWatchers(sessionId: string, watchers: number): void;
}

interface Subscriber {
  stream: EventStream;
  /** The run whose events alone it gets; null: it gets everything of the session. */
  runId: string | null;
  /** Streams are numbered in the order in which they began. */
  no: number;
}

export class Subscriptions {
  readonly #subscribers = new Map<string, Set<Subscriber>>();
  #begun = 0;
  /** The host is closed. */
  #ended = false;
  readonly #hooks: SubscriptionHooks;

  constructor(hooks: SubscriptionHooks) {
    this.#hooks = hooks;
  }

  /** How many streams have begun so far. */
  get begun(): number {
    return this.#begun;
  }

  watchers(sessionId: string): number {
    return this.#subscribers.get(sessionId)?.size ?? 0;
  }

  /** @param runId only what this run emits, and its start and end */
  subscribe(sessionId: string, runId: string | null = null): EventStream {
    if (this.#ended) return ended();
    const subscribers = this.#subscribers.get(sessionId) ?? new Set();
    const stream = new EventStream(() => this.#remove(sessionId, subscriber));
    const subscriber = { stream, runId, no: ++this.#begun };
    subscribers.add(subscriber);
    this.#subscribers.set(sessionId, subscribers);
    this.#hooks.onWatchers(sessionId, subscribers.size);
    return stream;
  }

  #remove(sessionId: string, subscriber: Subscriber): void {
    const subscribers = this.#subscribers.get(sessionId);
    if (!subscribers?.delete(subscriber)) return;
    if (subscribers.size === 0) this.#subscribers.delete(sessionId);
    this.#hooks.onWatchers(sessionId, subscribers.size);
  }

  publish(sessionId: string, event: SessionEvent): void {
    for (const stream of this.#streams(sessionId, runOf(event))) stream.push(event);
  }

  /** Events as a thread sent them: decoded when the first subscriber reads one, and once for all. */
  publishEvents(sessionId: string, runId: string | null, events: Uint8Array): void {
    let batch: EventBatch | undefined;
    for (const stream of this.#streams(sessionId, runId)) stream.pushBatch((batch ??= new ThreadEvents(runId, events)));
  }

  /** A run's events that its thread could not send. */
  publishGap(sessionId: string, runId: string | null, missed: number): void {
    for (const stream of this.#streams(sessionId, runId)) stream.pushGap(missed);
  }

  /** Entries that became durable at once. Together: a reader who is up to date misses none of them, however many they are. */
  publishEntries(sessionId: string, rows: readonly EntryRow[]): void {
    let batch: EventBatch | undefined;
    for (const stream of this.#streams(sessionId, null)) stream.pushBatch((batch ??= new Entries(rows)));
  }

  /** @param after only those streams that began after this many had begun */
  end(sessionId: string, after = 0): void {
    for (const { stream, no } of [...(this.#subscribers.get(sessionId) ?? [])]) if (no > after) stream.close();
  }

  /** The host is closed. */
  endAll(): void {
    this.#ended = true;
    for (const sessionId of [...this.#subscribers.keys()]) this.end(sessionId);
  }

  /** Whoever gets what belongs to this run; null: to none. */
  *#streams(sessionId: string, runId: string | null): Generator<EventStream> {
    for (const subscriber of this.#subscribers.get(sessionId) ?? []) {
      if (subscriber.runId === null || subscriber.runId === runId) yield subscriber.stream;
    }
  }
}

/** The stream of which nothing will come any more. */
function ended(): EventStream {
  const stream = new EventStream(() => undefined);
  stream.close();
  return stream;
}

function runOf(event: SessionEvent): string | null {
  if (event.type === 'run') return event.run.id;
  return event.type === 'event' ? event.runId : null;
}

class ThreadEvents implements EventBatch {
  readonly count: number;
  readonly bytes: number;
  readonly #runId: string | null;
  /** As they came; null once they are decoded. */
  #packed: Uint8Array | null;
  #events: SessionEvent[] = [];

  constructor(runId: string | null, packed: Uint8Array) {
    this.count = countOf(packed);
    this.bytes = packed.byteLength;
    this.#runId = runId;
    this.#packed = packed;
  }

  at(index: number): SessionEvent {
    if (this.#packed) {
      const runId = this.#runId;
      this.#events = unpackEvents(this.#packed).map((data) =>
        data === UNREADABLE ? { type: 'gap', missed: 1 } : { type: 'event', runId, data },
      );
      this.#packed = null;
    }
    return this.#events[index]!;
  }
}

/** Entries, each decoded when it is read, and once for all. */
class Entries implements EventBatch {
  readonly bytes: number;
  readonly #rows: readonly EntryRow[];
  readonly #events: SessionEvent[] = [];

  constructor(rows: readonly EntryRow[]) {
    this.bytes = rows.reduce((sum, { body }) => sum + body.byteLength, 0);
    this.#rows = rows;
  }

  get count(): number {
    return this.#rows.length;
  }

  at(index: number): SessionEvent {
    return (this.#events[index] ??= entryEvent(this.#rows[index]!));
  }
}

/** An entry as subscribers see it. One that cannot be decoded is missing: whoever reads the history is told why. */
export function entryEvent(row: EntryRow): SessionEvent {
  try {
    return { type: 'entry', seq: row.seq, createdAt: new Date(row.at).toISOString(), entry: decodeEntry(row.body) };
  } catch {
    return { type: 'gap', missed: 1 };
  }
}
