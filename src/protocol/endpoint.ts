// The two ends of a MessagePort between threads: calls, their answers, notes, and Comlink's messages, in order.
//
// Batches: what is said in one microtask travels as one message, a flat list of values without an object per item. A long
// list leaves in parts, so that the other thread works on the first while this one writes the next; the more calls are
// under way, the larger the parts: then both have enough to do anyway, and each message has its price.
// Encodes: many items, or a few large ones, travel as MessagePack bytes: quicker than structured clone from about eight
// small items or 4 KB on. What is said here is plain data, trees of values; what must be moved (a port) goes by Comlink.
// Settles: when the other thread dies, every pending and every later call is answered with a typed error, Comlink's as
// well, which by itself leaves them pending for ever.
//
// Notes are one-way messages beside the calls.

import type { Transferable } from 'node:worker_threads';
import { ENCODE_FROM_ITEMS, postBatch, readBatch } from './batch.js';
import { CabanaError, fromWire, messageOf, toWire, type WireError } from './errors.js';

/** The platform's own, whatever an agent puts in its place. */
const { queueMicrotask } = globalThis;

/** The messages that Comlink hands over; those of a request type are requests, the others are answers. */
interface ComlinkMessage {
  id?: string;
  type?: string;
  [field: string]: unknown;
}

/** What an endpoint needs of a port. */
export interface EndpointPort {
  on(event: 'message', listener: (message: unknown) => void): unknown;
  postMessage(message: unknown, transfers: readonly Transferable[]): void;
  /** May deliver what has arrived already. */
  close(): void;
}

type Listener = (event: { data: unknown }) => void;
/** Answers a call; a promise's outcome is the answer. */
type CallHandler = (method: string, args: unknown[]) => unknown;

interface Waiter {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** What an item is: the first of its values in a batch. The others are named beside it. */
const CALL = 0; // id, method, args
const ANSWER = 1; // id, value
const ERROR = 2; // id, WireError
const NOTE = 3; // note
const COMLINK = 4; // ComlinkMessage
type Kind = typeof CALL | typeof ANSWER | typeof ERROR | typeof NOTE | typeof COMLINK;
/** How many values an item of each kind has. */
const ITEM_VALUES = { [CALL]: 4, [ANSWER]: 3, [ERROR]: 3, [NOTE]: 2, [COMLINK]: 2 } as const satisfies Record<
  Kind,
  number
>;

const COMLINK_REQUESTS = new Set(['GET', 'SET', 'APPLY', 'CONSTRUCT', 'ENDPOINT', 'RELEASE']);
/**
 * A batch is posted early once it has this many items: this share of the calls in flight, or as many as the batch has that
 * is being answered; within these bounds.
 */
const PART_MIN_ITEMS = 24;
const PART_MAX_ITEMS = 256;
const PART_SHARE = 1 / 8;

const UNREADABLE_BATCH = 'what the other thread has posted cannot be read';

export class BatchEndpoint {
  readonly #port: EndpointPort;
  /** By id; ids are used again. */
  readonly #waiting: (Waiter | undefined)[] = [];
  readonly #freeIds: number[] = [];
  #outbox: unknown[] = [];
  #items = 0;
  #partItems = PART_MIN_ITEMS;
  #transfers: Transferable[] = [];
  #flushScheduled = false;
  /** Not the error itself: its stack holds what was on it. Every caller gets an error of its own. */
  #death: WireError | null = null;
  #onDeath: () => void = () => undefined;
  #onNote: (note: unknown) => void = () => undefined;
  #onCall: CallHandler = () => undefined;
  #onUnreadable: (error: CabanaError) => void = (error) => {
    throw error;
  };
  readonly #comlinkListeners = new Set<Listener>();
  readonly #comlinkPending = new Set<string>();

  constructor(port: EndpointPort) {
    this.#port = port;
    port.on('message', (batch) => this.#receive(batch as unknown[] | Uint8Array));
  }

  /** Rejects with what the other side threw, or with why it is gone. */
  call(method: string, args: unknown[]): Promise<unknown> {
    if (this.#death) return Promise.reject(fromWire(this.#death));
    return new Promise((resolve, reject) => {
      const id = this.#freeIds.pop() ?? this.#waiting.length;
      this.#waiting[id] = { resolve, reject };
      this.#sizeParts((this.#waiting.length - this.#freeIds.length) * PART_SHARE);
      this.#outbox.push(CALL, id, method, args);
      this.#pushed();
    });
  }

  onCall(handler: CallHandler): void {
    this.#onCall = handler;
  }

  /** Sends a one-way message with the next batch. */
  note(note: unknown): void {
    if (this.#death) return;
    this.#outbox.push(NOTE, note);
    this.#pushed();
  }

  onNote(handler: (note: unknown) => void): void {
    this.#onNote = handler;
  }

  /** The other side has posted something that is no batch: code that it executes has got between. Default: throws. */
  onUnreadable(handler: (error: CabanaError) => void): void {
    this.#onUnreadable = handler;
  }

  /** Nothing is answered any more but with why. */
  get isDead(): boolean {
    return this.#death !== null;
  }

  onDeath(handler: () => void): void {
    this.#onDeath = handler;
  }

  /** Posts what is waiting now: for code that will not reach the end of its microtask for a while. */
  flush(): void {
    this.#flushScheduled = false;
    if (this.#items === 0) return;
    const batch = this.#outbox;
    const transfers = this.#transfers;
    const isLong = this.#items >= ENCODE_FROM_ITEMS;
    this.#outbox = [];
    this.#transfers = [];
    this.#items = 0;
    try {
      postBatch(this.#port, batch, transfers, isLong);
    } catch (error) {
      this.#postEach(batch, transfers, error);
    }
  }

  /** Something in the batch cannot be sent: whoever said that is told, and the others' leaves. */
  #postEach(batch: unknown[], transfers: Transferable[], why: unknown): void {
    // Comlink's own, which knows what it may send.
    if (transfers.length > 0) throw why;
    let unsendableNote: unknown = null;
    for (let i = 0; i < batch.length;) {
      const item = batch.slice(i, i + ITEM_VALUES[batch[i] as Kind]);
      i += item.length;
      try {
        postBatch(this.#port, item, transfers, false);
      } catch (error) {
        const [kind, id] = item as [Kind, number];
        const unsendable = new CabanaError('VALUE_NOT_ENCODABLE', `this cannot be sent: ${messageOf(error)}`);
        if (kind === CALL) this.#reject(id, toWire(unsendable));
        else if (kind === ANSWER) postBatch(this.#port, [ERROR, id, toWire(unsendable)], transfers, false);
        else unsendableNote ??= error;
      }
    }
    // Only when the others have left.
    if (unsendableNote !== null) throw unsendableNote as Error;
  }

  /** The other thread is gone: answers every pending and every later call with this error. */
  settle(error: CabanaError): void {
    if (this.#death) return;
    const death = toWire(error);
    this.#death = death;
    this.#outbox = [];
    this.#items = 0;
    this.#transfers = [];
    this.#port.close();
    for (const waiter of this.#waiting.splice(0)) waiter?.reject(fromWire(death));
    for (const id of this.#comlinkPending) this.#answerDead(id);
    this.#comlinkPending.clear();
    // Behind the answers to Comlink's calls.
    queueMicrotask(() => this.#onDeath());
  }

  // --- what Comlink calls

  postMessage(message: unknown, transfers: Transferable[] = []): void {
    const comlink = message as ComlinkMessage;
    if (comlink.id !== undefined && COMLINK_REQUESTS.has(comlink.type ?? '')) {
      if (this.#death) return this.#answerDead(comlink.id);
      this.#comlinkPending.add(comlink.id);
    }
    if (this.#death) return;
    // What is transferred travels alone: a batch that could not be sent could not be sent again without it.
    if (transfers.length > 0) this.flush();
    this.#outbox.push(COMLINK, comlink);
    for (const transfer of transfers) this.#transfers.push(transfer);
    this.#pushed();
    if (transfers.length > 0) this.flush();
  }

  addEventListener(_type: string, listener: unknown): void {
    this.#comlinkListeners.add(listener as Listener);
  }

  removeEventListener(_type: string, listener: unknown): void {
    this.#comlinkListeners.delete(listener as Listener);
  }

  // --- items out and in

  #sizeParts(items: number): void {
    this.#partItems = Math.min(Math.max(PART_MIN_ITEMS, items), PART_MAX_ITEMS);
  }

  #pushed(): void {
    this.#items++;
    if (this.#items >= this.#partItems) return this.flush();
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    queueMicrotask(() => {
      if (this.#flushScheduled) this.flush();
    });
  }

  #receive(message: unknown[] | Uint8Array): void {
    const batch = this.#read(message);
    if (!batch) return;
    if (batch[0] === CALL) this.#sizeParts(batch.length / ITEM_VALUES[CALL]);
    for (let i = 0; i < batch.length;) {
      switch (batch[i++]) {
        case CALL:
          this.#answer(batch[i++] as number, batch[i++] as string, batch[i++] as unknown[]);
          break;
        case ANSWER:
          this.#resolve(batch[i++] as number, batch[i++]);
          break;
        case ERROR:
          this.#reject(batch[i++] as number, batch[i++] as WireError);
          break;
        case NOTE:
          this.#onNote(batch[i++]);
          break;
        case COMLINK:
          this.#deliver(batch[i++] as ComlinkMessage);
          break;
        default:
          return this.#onUnreadable(new CabanaError('INTERNAL', UNREADABLE_BATCH));
      }
    }
  }

  #read(message: unknown[] | Uint8Array): unknown[] | null {
    try {
      const batch: unknown = readBatch(message);
      if (Array.isArray(batch)) return batch as unknown[];
      this.#onUnreadable(new CabanaError('INTERNAL', UNREADABLE_BATCH));
    } catch (error) {
      this.#onUnreadable(new CabanaError('INTERNAL', UNREADABLE_BATCH, { cause: error }));
    }
    return null;
  }

  #answer(id: number, method: string, args: unknown[]): void {
    let value: unknown;
    try {
      value = this.#onCall(method, args);
    } catch (error) {
      return this.#say(ERROR, id, toWire(error));
    }
    if (!(value instanceof Promise)) return this.#say(ANSWER, id, value);
    value.then(
      (result) => this.#say(ANSWER, id, result),
      (error: unknown) => this.#say(ERROR, id, toWire(error)),
    );
  }

  #say(kind: typeof ANSWER | typeof ERROR, id: number, value: unknown): void {
    if (this.#death) return;
    this.#outbox.push(kind, id, value);
    this.#pushed();
  }

  // What is not waited for any more was settled.

  #resolve(id: number, value: unknown): void {
    this.#waiter(id)?.resolve(value);
  }

  #reject(id: number, error: WireError): void {
    this.#waiter(id)?.reject(fromWire(error));
  }

  #waiter(id: number): Waiter | undefined {
    const waiter = this.#waiting[id];
    if (!waiter) return undefined;
    this.#waiting[id] = undefined;
    this.#freeIds.push(id);
    return waiter;
  }

  #deliver(message: ComlinkMessage): void {
    if (message.id !== undefined && !COMLINK_REQUESTS.has(message.type ?? '')) this.#comlinkPending.delete(message.id);
    for (const listener of this.#comlinkListeners) listener({ data: message });
  }

  #answerDead(id: string): void {
    const value = { error: this.#death };
    // Not in this turn: Comlink's caller has not returned its promise yet.
    queueMicrotask(() => this.#deliver({ id, type: 'RAW', value }));
  }
}
