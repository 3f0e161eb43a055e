// The agent threads' links: takes in what they post to the journal, and tells them what is durable.
//
// A session's entries come from one link at a time. When another thread takes the session over (or main ends its run),
// the old link is drained first, synchronously: whatever a thread had posted before it was given up is kept, whatever it
// posts afterwards meets a newer epoch and is refused.

import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { toWire, type CabanaError } from '../../protocol/errors.js';
import { RingReader, type JournalPost } from '../../protocol/journal-ring.js';
import { packRows, type Fence, type JournalReply, type JournalRequest, type Loaded } from '../../protocol/journal.js';
import { OP_OVERHEAD_BYTES, STORE_LINGER_MS, STORE_LINGER_WORTH_MS } from '../../protocol/limits.js';
import type { StatusTable } from '../../protocol/status-table.js';
import type { GroupCommitter, Item } from './committer.js';
import type { OpResult, Store, Written } from './store.js';

interface Link {
  port: MessagePort;
  /** What the thread appends, and how much of it was dealt with. */
  ring: RingReader;
  /** How many posts came in, and those of them that are not dealt with: each in front of the entry at its position. */
  received: number;
  posts: NonNullable<JournalPost>[];
  /** How far the ring may be read. */
  end: number;
  /** Triples of key, epoch and n that the thread has yet to be told. */
  acks: number[];
  /** Answers that leave as one message at the end of the microtask. */
  outbox: JournalReply[];
  transfers: ArrayBuffer[];
}

/** Where a session in memory lives: which link writes it, and which row of the table shows it. */
interface Place {
  link: Link;
  slot: number;
  generation: number;
  epoch: number;
}

export class Links {
  readonly #store: Store;
  readonly #committer: GroupCommitter;
  readonly #table: StatusTable;
  readonly #onWritten: (written: Written) => void;
  readonly #links = new Map<number, Link>();
  readonly #places = new Map<string, Place>();
  /** Links with acknowledgements to send. */
  readonly #toTell = new Set<Link>();
  /** When the store last went to sleep, if no thread has woken it since. */
  #asleepSince: number | null = null;
  #lingers = false;
  /** How many threads were told of the last batch. */
  #told = 0;

  /** @param onWritten called for every operation of a thread that became durable */
  constructor(store: Store, committer: GroupCommitter, table: StatusTable, onWritten: (written: Written) => void) {
    this.#store = store;
    this.#committer = committer;
    this.#table = table;
    this.#onWritten = onWritten;
  }

  attach(thread: number, port: MessagePort, shared: SharedArrayBuffer): void {
    const ring = new RingReader(shared);
    const link: Link = { port, ring, received: 0, posts: [], end: 0, acks: [], outbox: [], transfers: [] };
    this.#links.set(thread, link);
    ring.sleep();
    port.on('message', (post: JournalPost) => {
      this.#woken();
      received(link, post);
      this.#drain(link);
      // What woke the store may have been taken in before: then nothing has begun at whose end it would go to sleep again.
      if (!this.#committer.isWorking) this.#sleep(link);
    });
  }

  /** Takes in what the thread had posted, waits until it is durable, and closes the link. */
  async detach(thread: number): Promise<void> {
    const link = this.#links.get(thread);
    if (!link) return;
    this.#links.delete(thread);
    // A thread may have ended between a post and its being counted.
    fetch(link);
    this.#drain(link);
    await this.#committer.settled();
    flush(link);
    link.port.close();
  }

  /** Takes in whatever the session's thread has posted up to now. */
  drainFor(sessionId: string): void {
    const place = this.#places.get(sessionId);
    // What wakes the store may have been among it.
    if (place && this.#drain(place.link) && !this.#committer.isWorking) this.#sleep(place.link);
  }

  /** Takes in whatever any thread has posted up to now. True: something. */
  collect(): boolean {
    let some = false;
    for (const link of this.#links.values()) if (this.#drain(link)) some = true;
    return some;
  }

  /** The same, for a store that has nothing else to do: from now on it is woken for what comes. */
  awaitMore(): void {
    if (this.collect() || this.#lingered()) return;
    this.sleep();
  }

  /** From now on the store is woken for whatever comes. */
  sleep(): void {
    this.#asleepSince = performance.now();
    for (const link of this.#links.values()) this.#sleep(link);
  }

  #sleep(link: Link): void {
    link.ring.sleep();
    // What came between the last look and this flag has woken nobody. It begins the loop, which ends with this again; or,
    // when the storage has failed, it is refused, and there may be more.
    if (this.#drain(link) && !this.#committer.isWorking) setImmediate(() => this.#sleep(link));
  }

  /** Stays awake for a moment if that would have been enough the last time. True: it was, something has come. */
  #lingered(): boolean {
    // Several threads that were told need the cores to come back.
    if (!this.#lingers || this.#told > 1) return false;
    const until = performance.now() + STORE_LINGER_MS;
    while (performance.now() < until) if (this.collect()) return true;
    this.#lingers = false;
    return false;
  }

  #woken(): void {
    if (this.#asleepSince === null) return;
    this.#lingers = performance.now() - this.#asleepSince < STORE_LINGER_WORTH_MS;
    this.#asleepSince = null;
  }

  /**
   * Takes in what the thread has appended and posted, in the order in which it did. True: something. One request at a
   * time, with all that it needs to know in the link: a load drains other links, and through their loads this one again.
   */
  #drain(link: Link): boolean {
    // In this order: every post that belongs before one of the entries up to `end` is among the posts.
    link.end = link.ring.written;
    // Not without need: what wakes the store must not be taken from the port and come to nothing.
    if (((link.ring.posts - link.received) | 0) > 0) fetch(link);
    let request = next(link);
    if (!request) return false;
    for (; request; request = next(link)) this.#receive(link, request);
    return true;
  }

  /** The session has left memory, or was deleted: its row of the table is not this link's any more. */
  forget(sessionId: string, epoch?: number): void {
    if (epoch === undefined || this.#places.get(sessionId)?.epoch === epoch) this.#places.delete(sessionId);
  }

  /** Shows in the table how far the session is durable, in the row that it still has. */
  publish(written: Written): void {
    if (!written.head) return;
    const place = this.#places.get(written.head.sessionId);
    if (!place || place.epoch !== written.head.epoch) return;
    if (this.#table.get(place.slot, 'generation') !== place.generation) return;
    this.#table.setDurable(place.slot, written.head.seq, written.head.n);
  }

  /** After a batch: one message of acknowledgements per link. */
  tellAll(): void {
    this.#told = this.#toTell.size;
    for (const link of this.#toTell) {
      if (link.acks.length > 0) reply(link, { t: 'durable', acks: link.acks });
      link.acks = [];
      flush(link);
    }
    this.#toTell.clear();
  }

  #receive(link: Link, request: JournalRequest): void {
    switch (request.t) {
      case 'load':
        return this.#load(link, request);
      case 'read':
        return this.#read(link, request);
      case 'append':
        return this.#write(link, request, request.body.byteLength);
      case 'start':
      case 'rename':
        return this.#write(link, request, 0);
      case 'end':
        return this.#write(link, request, bytesOfEnd(request));
      case 'save':
        return this.#save(link, request);
      default:
        return request satisfies never;
    }
  }

  #load(link: Link, request: Extract<JournalRequest, { t: 'load' }>): void {
    const { sessionId, slot, generation } = request;
    this.drainFor(sessionId);
    // What the activation before it has done comes before it, even if that waits for room: its epoch ends with the load.
    const inOrder = this.#places.has(sessionId);
    const done = (result: OpResult): void => {
      if ('error' in result) return fail(link, request.request, result.error);
      const loaded = result.ok.loaded ?? null;
      if (loaded) this.#places.set(sessionId, { link, slot, generation, epoch: loaded.epoch });
      this.publish(result.ok);
      replyLoaded(link, request.request, loaded);
    };
    this.#committer.submit({ op: { t: 'load', sessionId }, refusable: true, inOrder, done });
  }

  /** Reads behind everything that the thread posted before it asked. */
  #read(link: Link, request: Extract<JournalRequest, { t: 'read' }>): void {
    const done = (): void => {
      this.#store.entries(request.key, request.from, request.limit).then(
        (entries) => {
          const rows = packRows(entries);
          reply(link, { t: 'entries', request: request.request, rows }, [rows.meta.buffer, rows.bodies.buffer]);
        },
        (error: unknown) => fail(link, request.request, error),
      );
    };
    this.#committer.submit({ op: null, refusable: false, done });
  }

  #save(link: Link, request: Extract<JournalRequest, { t: 'save' }>): void {
    const weight = request.body.byteLength + OP_OVERHEAD_BYTES;
    const stalled = (error: CabanaError): void => fail(link, request.request, error);
    const done = (result: OpResult): void => {
      link.ring.give(weight);
      if ('error' in result) return fail(link, request.request, result.error);
      this.written(link, request, result.ok);
      reply(link, { t: 'saved', request: request.request });
    };
    this.#committer.submit({ op: request, refusable: false, done, stalled });
  }

  #write(link: Link, op: ThreadOp, bytes: number): void {
    this.#committer.submit(new ThreadWrite(this, link, op, bytes + OP_OVERHEAD_BYTES));
  }

  /** An operation of a thread is durable. */
  written(link: Link, op: Fence, written: Written): void {
    this.publish(written);
    link.acks.push(op.key, op.epoch, op.n);
    this.#toTell.add(link);
    this.#onWritten(written);
  }
}

type ThreadOp = Exclude<JournalRequest, { t: 'load' | 'read' | 'save' }>;

/** An operation that its thread does not ask an answer for. One object each: this is the path of every entry. */
class ThreadWrite implements Item {
  readonly op: ThreadOp;
  readonly refusable = false;
  readonly #links: Links;
  readonly #link: Link;
  readonly #weight: number;

  constructor(links: Links, link: Link, op: ThreadOp, weight: number) {
    this.#links = links;
    this.#link = link;
    this.op = op;
    this.#weight = weight;
  }

  done(result: OpResult): void {
    this.#link.ring.give(this.#weight);
    if ('error' in result) this.stalled(result.error);
    else this.#links.written(this.#link, this.op, result.ok);
  }

  stalled(error: CabanaError): void {
    reply(this.#link, { t: 'refused', key: this.op.key, epoch: this.op.epoch, error: toWire(error) });
  }
}

/** Takes all that has arrived from the port. */
function fetch(link: Link): void {
  for (let m = receiveMessageOnPort(link.port); m; m = receiveMessageOnPort(link.port)) {
    received(link, m.message as JournalPost);
  }
}

/** Takes the next request that is there. */
function next(link: Link): JournalRequest | undefined {
  const { ring, posts } = link;
  for (let post = posts[0]; post?.at === ring.position; post = posts[0]) {
    const request = post.requests.shift();
    if (request) return request;
    posts.shift();
  }
  if (ring.position !== link.end) return ring.read();
  if (posts.length === 0) return undefined;
  // Posts that came meanwhile, behind entries that came meanwhile.
  link.end = posts.at(-1)!.at;
  return ring.read();
}

function received(link: Link, post: JournalPost): void {
  if (!post) return;
  link.received = (link.received + 1) | 0;
  link.posts.push(post);
}

function bytesOfEnd(end: Extract<JournalRequest, { t: 'end' }>): number {
  return end.entry.byteLength + (end.output?.byteLength ?? 0) + (end.snapshot?.byteLength ?? 0);
}

function replyLoaded(link: Link, request: number, loaded: Loaded | null): void {
  if (!loaded) return reply(link, { t: 'loaded', request, loaded: null });
  const tail = packRows(loaded.tail);
  reply(link, { t: 'loaded', request, loaded: { ...loaded, tail } }, [tail.meta.buffer, tail.bodies.buffer]);
}

function reply(link: Link, message: JournalReply, handedOver: readonly ArrayBuffer[] = []): void {
  for (const buffer of handedOver) link.transfers.push(buffer);
  if (link.outbox.push(message) === 1) queueMicrotask(() => flush(link));
}

function flush(link: Link): void {
  const { outbox, transfers } = link;
  if (outbox.length === 0) return;
  link.outbox = [];
  link.transfers = [];
  link.port.postMessage(outbox.length === 1 ? outbox[0] : outbox, transfers);
}

function fail(link: Link, request: number, error: unknown): void {
  reply(link, { t: 'failed', request, error: toWire(error) });
}
