// A thread's end of its link to the store: sends operations, has requests answered, and knows how much is on its way.

import type { MessagePort } from 'node:worker_threads';
import { CabanaError, fromWire, type WireError } from '../protocol/errors.js';
import { RingWriter, type Append, type JournalPost } from '../protocol/journal-ring.js';
import {
  unpackRows,
  weightOf,
  type Batch,
  type EntryRow,
  type JournalReply,
  type JournalRequest,
  type Loaded,
} from '../protocol/journal.js';
import {
  JOURNAL_BACKLOG_MAX_BYTES,
  JOURNAL_CREDIT_BYTES,
  REQUEST_BATCH_MAX_BYTES,
  REQUEST_BATCH_MAX_OPS,
  TAIL_PAGE_ROWS,
  TAIL_PAGES_IN_FLIGHT,
} from '../protocol/limits.js';
import { queueMicrotask } from './platform.js';

/** Below it a copy is cheaper than a transfer. */
const TRANSFER_FROM_BYTES = 4096;

/** Who hears of durable and refused entries of one activation. */
export interface JournalListener {
  readonly epoch: number;
  onDurable(n: number): void;
  onRefused(error: CabanaError): void;
}

/** What an activation starts from, its tail whole and decoded. */
export type Restored<T> = Omit<Loaded, 'tail' | 'rest'> & { tail: T[] };

interface Waiting {
  resolve(reply: JournalReply): void;
  reject(error: Error): void;
}

export class JournalLink {
  readonly #port: MessagePort;
  readonly #ring: RingWriter;
  #sentBytes = 0;
  #nextRequest = 1;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Map<number, JournalListener>();
  /** Those who wait until they may post, in their order. */
  readonly #roomWaiters: (() => void)[] = [];
  #lettingIn = false;
  /** Requests of this microtask: many agents that are loaded or saved at once are one message, not one each. */
  #outbox: JournalRequest[] = [];
  #outboxBytes = 0;

  /** @param ring the link's shared memory */
  constructor(port: MessagePort, ring: SharedArrayBuffer) {
    this.#port = port;
    this.#ring = new RingWriter(ring);
    port.on('message', (replies: Batch<JournalReply>) => {
      for (const reply of Array.isArray(replies) ? replies : [replies]) this.#receive(reply);
    });
  }

  /** Bytes posted and not yet dealt with by the store. Exact even if the event loop has not turned since. */
  get backlogBytes(): number {
    return (this.#sentBytes - this.#ring.credit) | 0;
  }

  /** Sends a copy of an entry. On return it is in shared memory or posted: it outlives this thread. */
  append(append: Append): void {
    this.#sends(append);
    if (!this.#ring.write(append)) this.#post([{ ...append, body: new Uint8Array(append.body) }]);
    else if (this.#ring.takeSleep()) this.#port.postMessage(null satisfies JournalPost);
  }

  /** Sends an operation that nobody waits for. On return it is posted. */
  send(request: Exclude<JournalRequest, { kind: 'append' | 'load' | 'read' }>): void {
    this.#sends(request);
    this.#post([request]);
  }

  #sends(request: JournalRequest): void {
    this.#sentBytes = (this.#sentBytes + weightOf(request)) | 0;
    // What was asked before it goes before it.
    this.#flush();
  }

  #post(requests: JournalRequest[]): void {
    const post: JournalPost = { at: this.#ring.position, requests };
    this.#port.postMessage(post, requests.flatMap(largeBuffersOf));
    this.#ring.countPost();
  }

  /** @throws CabanaError JOURNAL_BACKLOG if so many bytes more would be too much */
  assertRoom(bytes: number): void {
    if (this.backlogBytes + bytes <= JOURNAL_BACKLOG_MAX_BYTES) return;
    throw new CabanaError(
      'JOURNAL_BACKLOG',
      `${this.backlogBytes} bytes wait for the disk; await append() or durable()`,
    );
  }

  /** Resolves when there is room and every earlier waiter has gone; undefined: now. */
  room(): Promise<void> | undefined {
    if (this.#roomWaiters.length === 0 && this.backlogBytes <= JOURNAL_CREDIT_BYTES) return undefined;
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  listen(key: number, listener: JournalListener): void {
    this.#listeners.set(key, listener);
  }

  /** Ends what listen() began, unless a later activation of the session has taken its place. */
  unlisten(key: number, listener: JournalListener): void {
    if (this.#listeners.get(key) === listener) this.#listeners.delete(key);
  }

  /**
   * Takes the session's next epoch and reads what it starts from.
   * @param decode called for every entry of the tail as it comes in: while the store reads the next ones
   */
  async load<T>(
    sessionId: string,
    place: { slot: number; generation: number },
    decode: (row: EntryRow) => T,
  ): Promise<Restored<T> | null> {
    const reply = await this.#ask((request) => ({ kind: 'load', request, sessionId, ...place }));
    if (reply.kind !== 'loaded' || !reply.loaded) return null;
    const { tail: packed, ...loaded } = reply.loaded;
    const tail = unpackRows(packed).map(decode);
    if (loaded.rest) await this.#readRest(loaded.key, loaded.rest, loaded.seq, (row) => tail.push(decode(row)));
    return { ...loaded, tail };
  }

  /** The pages of a long tail, in order; a few are asked for ahead. */
  async #readRest(
    key: number,
    { from, without }: NonNullable<Loaded['rest']>,
    last: number,
    take: (row: EntryRow) => void,
  ): Promise<void> {
    const left = new Set(without);
    const pages: Promise<EntryRow[]>[] = [];
    for (let next = from; next <= last || pages.length > 0;) {
      for (; next <= last && pages.length < TAIL_PAGES_IN_FLIGHT; next += TAIL_PAGE_ROWS) {
        const page = this.#readWhole(key, next, Math.min(TAIL_PAGE_ROWS, last - next + 1));
        // Its error is thrown below, unless the one before it has an error as well.
        page.catch(() => undefined);
        pages.push(page);
      }
      for (const row of await pages.shift()!) if (!left.has(row.seq)) take(row);
    }
  }

  /** `count` entries, in as many pages as their bytes take. */
  async #readWhole(key: number, from: number, count: number): Promise<EntryRow[]> {
    const rows = await this.read(key, from, count);
    while (rows.length > 0 && rows.length < count) {
      const more = await this.read(key, from + rows.length, count - rows.length);
      if (more.length === 0) break;
      rows.push(...more);
    }
    return rows;
  }

  /** Entries from seq `from` on: at most `limit`, and no more bytes than a page has. None: there are no more. */
  async read(key: number, from: number, limit: number): Promise<EntryRow[]> {
    const reply = await this.#ask((request) => ({ kind: 'read', request, key, from, limit }));
    return reply.kind === 'entries' ? unpackRows(reply.rows) : [];
  }

  /** Posts a snapshot and resolves when it is on disk. @throws CabanaError STORE_FULL, STALE_EPOCH */
  async save(snapshot: Omit<Extract<JournalRequest, { kind: 'save' }>, 'kind' | 'request'>): Promise<void> {
    await this.#ask((request) => ({ kind: 'save', request, ...snapshot }));
  }

  #ask(make: (request: number) => JournalRequest): Promise<JournalReply> {
    return new Promise((resolve, reject) => {
      const request = this.#nextRequest++;
      this.#waiting.set(request, { resolve, reject });
      const made = make(request);
      const weight = weightOf(made);
      this.#sentBytes = (this.#sentBytes + weight) | 0;
      if (this.#outbox.push(made) === 1) queueMicrotask(() => this.#flush());
      this.#outboxBytes += weight;
      if (this.#outbox.length >= REQUEST_BATCH_MAX_OPS || this.#outboxBytes >= REQUEST_BATCH_MAX_BYTES) this.#flush();
    });
  }

  #flush(): void {
    if (this.#outbox.length === 0) return;
    const batch = this.#outbox;
    this.#outbox = [];
    this.#outboxBytes = 0;
    this.#post(batch);
  }

  #receive(reply: JournalReply): void {
    switch (reply.kind) {
      case 'durable':
        for (let i = 0; i < reply.acks.length; i += 3) {
          const listener = this.#listeners.get(reply.acks[i]!);
          if (listener?.epoch === reply.acks[i + 1]) listener?.onDurable(reply.acks[i + 2]!);
        }
        break;
      case 'refused':
        this.#refused(reply.key, reply.epoch, reply.error);
        break;
      case 'failed':
        this.#take(reply.request)?.reject(fromWire(reply.error));
        break;
      case 'loaded':
      case 'saved':
      case 'entries':
        this.#take(reply.request)?.resolve(reply);
        break;
      default:
        return reply satisfies never;
    }
    this.#letIn();
  }

  #refused(key: number, epoch: number, error: WireError): void {
    const listener = this.#listeners.get(key);
    if (listener?.epoch === epoch) listener.onRefused(fromWire(error) as CabanaError);
  }

  /** A stalled snapshot is answered twice: refused now, saved when there is room. The first answer counts. */
  #take(request: number): Waiting | undefined {
    const waiting = this.#waiting.get(request);
    this.#waiting.delete(request);
    return waiting;
  }

  /**
   * Wakes waiters one per microtask, so that each one's bytes count before the next is woken; else thousands would fill
   * the memory.
   */
  #letIn(): void {
    if (this.#lettingIn || this.#roomWaiters.length === 0 || this.backlogBytes > JOURNAL_CREDIT_BYTES) return;
    this.#lettingIn = true;
    this.#roomWaiters.shift()!();
    // Behind the one that was let in.
    queueMicrotask(() => {
      this.#lettingIn = false;
      this.#letIn();
    });
  }
}

function bodyOf(request: JournalRequest): Uint8Array | null {
  if (request.kind === 'save' || request.kind === 'append') return request.body;
  return request.kind === 'end' ? request.snapshot : null;
}

/**
 * The buffers that are handed over instead of copied: codec.ts gives every snapshot one of its own, append() every entry
 * that does not fit into the ring; and nobody here keeps it.
 */
function largeBuffersOf(request: JournalRequest): ArrayBuffer[] {
  const body = bodyOf(request);
  return body !== null && body.byteLength >= TRANSFER_FROM_BYTES ? [body.buffer as ArrayBuffer] : [];
}
