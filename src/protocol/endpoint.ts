// A Comlink endpoint over a MessagePort that batches, encodes and settles.
//
// Batches: what is posted in one microtask travels as one message (Comlink alone posts one message a call).
// Encodes: a call whose arguments are a large tree of values travels as MessagePack bytes, which is quicker than
// structured clone from about 4 KB on; calls that transfer something never do.
// Settles: when the other thread dies, every pending and every later call is answered with a typed error; Comlink
// alone leaves them pending for ever.
//
// Notes are one-way messages beside the calls, in order with them.

import type { MessagePort, Transferable } from 'node:worker_threads';
import { Packr } from 'msgpackr';
import type { CabanaError } from './errors.js';
import { toWire } from './errors.js';

/** The messages that Comlink hands over; those with a path are requests, the others are answers. */
interface ComlinkMessage {
  id?: string;
  type?: string;
  [field: string]: unknown;
}

type Listener = (event: { data: unknown }) => void;
type Item = ComlinkMessage | Uint8Array | { note: unknown };

const REQUEST_TYPES = new Set(['GET', 'SET', 'APPLY', 'CONSTRUCT', 'ENDPOINT', 'RELEASE']);
/** From this estimated size on, a message is encoded instead of cloned. */
const ENCODE_FROM_BYTES = 4096;

const packr = new Packr({ structuredClone: true });

export class BatchEndpoint {
  readonly #port: MessagePort;
  readonly #listeners = new Set<Listener>();
  readonly #pending = new Set<string>();
  #outbox: Item[] = [];
  #transfers: Transferable[] = [];
  #flushScheduled = false;
  #started = false;
  #death: CabanaError | null = null;
  #onNote: (note: unknown) => void = () => undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (batch: Item[]) => this.#receive(batch));
  }

  // --- what Comlink calls

  postMessage(message: unknown, transfers: Transferable[] = []): void {
    const comlink = message as ComlinkMessage;
    if (comlink.id !== undefined && REQUEST_TYPES.has(comlink.type ?? '')) {
      if (this.#death) return this.#answerDead(comlink.id);
      this.#pending.add(comlink.id);
    }
    if (this.#death) return;
    const large = transfers.length === 0 && sizeAtLeast(message, ENCODE_FROM_BYTES);
    if (large) this.#push(exactCopy(packr.pack(message)));
    else this.#push(comlink, transfers);
  }

  addEventListener(_type: string, listener: unknown): void {
    this.#listeners.add(listener as Listener);
  }

  removeEventListener(_type: string, listener: unknown): void {
    this.#listeners.delete(listener as Listener);
  }

  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#port.start();
  }

  // --- beside Comlink

  onNote(handler: (note: unknown) => void): void {
    this.#onNote = handler;
  }

  /** Sends a one-way message with the next batch. */
  note(note: unknown): void {
    if (!this.#death) this.#push({ note });
  }

  /** Posts what is waiting now: for code that will not reach the end of its microtask for a while. */
  flush(): void {
    this.#flushScheduled = false;
    if (this.#outbox.length === 0) return;
    const batch = this.#outbox;
    const transfers = this.#transfers;
    this.#outbox = [];
    this.#transfers = [];
    this.#port.postMessage(batch, transfers);
  }

  /** The other thread is gone: answers every pending and every later call with this error. */
  settle(error: CabanaError): void {
    if (this.#death) return;
    this.#death = error;
    this.#outbox = [];
    this.#transfers = [];
    this.#port.close();
    for (const id of this.#pending) this.#answerDead(id);
    this.#pending.clear();
  }

  #push(item: Item, transfers: Transferable[] = []): void {
    this.#outbox.push(item);
    for (const transfer of transfers) this.#transfers.push(transfer);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    queueMicrotask(() => {
      if (this.#flushScheduled) this.flush();
    });
  }

  #receive(batch: Item[]): void {
    for (const item of batch) {
      if (item instanceof Uint8Array) this.#deliver(packr.unpack(item) as ComlinkMessage);
      else if ('note' in item) this.#onNote(item.note);
      else this.#deliver(item);
    }
  }

  #deliver(message: ComlinkMessage): void {
    if (message.id !== undefined && !REQUEST_TYPES.has(message.type ?? '')) this.#pending.delete(message.id);
    for (const listener of this.#listeners) listener({ data: message });
  }

  #answerDead(id: string): void {
    const value = { error: toWire(this.#death) };
    // Not in this turn: Comlink's caller has not returned its promise yet.
    queueMicrotask(() => this.#deliver({ id, type: 'RAW', value }));
  }
}

function exactCopy(pooled: Uint8Array): Uint8Array {
  return new Uint8Array(pooled);
}

/**
 * Whether cloning this value costs like `bytes` or more. Byte arrays count nothing: cloning them is one copy, whatever
 * their size. Stops as soon as the answer is known.
 */
function sizeAtLeast(value: unknown, bytes: number): boolean {
  let left = bytes;
  const visit = (v: unknown): void => {
    if (left <= 0) return;
    if (typeof v === 'string') left -= v.length;
    else if (typeof v !== 'object' || v === null) left -= 8;
    else if (ArrayBuffer.isView(v) || v instanceof ArrayBuffer || v instanceof SharedArrayBuffer) left -= 32;
    else if (Array.isArray(v)) {
      // Counted itself as well, so that a cycle comes to an end.
      left -= 8;
      for (const item of v) visit(item);
    } else {
      left -= 8;
      for (const key in v) {
        left -= key.length + 8;
        visit((v as Record<string, unknown>)[key]);
        if (left <= 0) return;
      }
    }
  };
  visit(value);
  return left <= 0;
}
