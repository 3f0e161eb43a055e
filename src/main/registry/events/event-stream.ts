// One subscriber's events, as an async iterator over a bounded queue.

import { SUBSCRIBER_MAX_BYTES, SUBSCRIBER_MAX_EVENTS } from '../../../protocol/limits.js';
import type { JournalEntry, RunInfo } from '../../../protocol/session.js';

/** What a subscriber is told. */
export type SessionEvent =
  /** An entry of the history that is on disk. Its seq is what a later subscription resumes from. */
  | { type: 'entry'; seq: number; createdAt: string; entry: JournalEntry }
  /** What a run yielded or emitted. Not kept. */
  | { type: 'event'; runId: string | null; data: unknown }
  | { type: 'run'; run: RunInfo }
  /**
   * `missed` events were lost at this point: the subscriber read too slowly, or the agent emitted faster than the main
   * thread could take. Entries can be read again from the history.
   */
  | { type: 'gap'; missed: number };

/** Events that came together. They are shared by the streams that they are pushed to, and made out when they are read. */
export interface EventBatch {
  readonly count: number;
  /** What it holds in memory, about. */
  readonly bytes: number;
  /** The event of this index, from 0. Does not throw. */
  at(index: number): SessionEvent;
}

/** What a stream has yet to give of a batch, and how many events are missing before that. */
interface Segment {
  missed: number;
  readonly batch: EventBatch;
  next: number;
  after: Segment | null;
}

const NOTHING: EventBatch = {
  count: 0,
  bytes: 0,
  at: () => {
    throw new RangeError('an empty batch');
  },
};

type Result = IteratorResult<SessionEvent, undefined>;

/**
 * Bounded: the oldest events are dropped, and the subscriber is told in their place how many. What comes at once is never
 * dropped before more comes: its reader has had no turn in which to read it, so it is not slow.
 */
export class EventStream implements AsyncIterableIterator<SessionEvent> {
  readonly #onClose: () => void;
  readonly #maxEvents: number;
  readonly #maxBytes: number;
  #head: Segment | null = null;
  #tail: Segment | null = null;
  #events = 0;
  #bytes = 0;
  #closed = false;
  /** Calls of next() that wait, in their order; the queue is empty then. */
  readonly #waiting: ((result: Result) => void)[] = [];

  constructor(onClose: () => void, maxEvents = SUBSCRIBER_MAX_EVENTS, maxBytes = SUBSCRIBER_MAX_BYTES) {
    this.#onClose = onClose;
    this.#maxEvents = maxEvents;
    this.#maxBytes = maxBytes;
  }

  push(event: SessionEvent): void {
    this.pushBatch({ count: 1, bytes: 0, at: () => event });
  }

  pushBatch(batch: EventBatch): void {
    if (this.#closed || batch.count === 0) return;
    this.#append({ missed: 0, batch, next: 0, after: null });
    this.#events += batch.count;
    this.#bytes += batch.bytes;
    // Batch by batch while all of the oldest has to go, then event by event. The newest stays whole: the most that the store
    // tells at once, a commit, is bounded by itself.
    while (this.#head !== this.#tail && (this.#bytes > this.#maxBytes || this.#excess >= left(this.#head!))) {
      this.#dropHead();
    }
    if (this.#head !== this.#tail && this.#excess > 0) this.#skip(this.#head!, this.#excess);
    this.#serve();
  }

  /** `missed` events are missing here. */
  pushGap(missed: number): void {
    if (this.#closed || missed === 0) return;
    // Two in a row are one: what is queued stays bounded by its events.
    if (this.#tail?.batch === NOTHING) this.#tail.missed += missed;
    else this.#append({ missed, batch: NOTHING, next: 0, after: null });
    this.#serve();
  }

  next(): Promise<Result> {
    const value = this.#take();
    if (value) return Promise.resolve({ done: false, value });
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** What is queued can still be read; then the iterator ends. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose();
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  return(): Promise<Result> {
    this.close();
    this.#head = this.#tail = null;
    this.#events = this.#bytes = 0;
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get #excess(): number {
    return this.#events - this.#maxEvents;
  }

  #take(): SessionEvent | null {
    const head = this.#head;
    if (!head) return null;
    if (head.missed > 0) {
      const { missed } = head;
      head.missed = 0;
      if (head.next === head.batch.count) this.#shift(head);
      return { type: 'gap', missed };
    }
    const event = head.batch.at(head.next++);
    this.#events--;
    if (head.next === head.batch.count) this.#shift(head);
    return event;
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const value = this.#take();
      if (!value) return;
      this.#waiting.shift()!({ done: false, value });
    }
  }

  #append(segment: Segment): void {
    if (this.#tail) this.#tail.after = segment;
    else this.#head = segment;
    this.#tail = segment;
  }

  #shift(head: Segment): void {
    this.#bytes -= head.batch.bytes;
    this.#head = head.after;
    if (!this.#head) this.#tail = null;
  }

  /** Drops all that is left of the oldest batch; there is one behind it. */
  #dropHead(): void {
    const head = this.#head!;
    const dropped = left(head);
    this.#events -= dropped;
    this.#shift(head);
    this.#head!.missed += head.missed + dropped;
  }

  #skip(head: Segment, count: number): void {
    head.next += count;
    head.missed += count;
    this.#events -= count;
  }
}

function left({ batch, next }: Segment): number {
  return batch.count - next;
}
