// One agent thread's link, the store's end: what comes in as one sequence (journal-ring.ts), and the answers.

import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { toWire } from '../../protocol/errors.js';
import { RingReader, type JournalPost } from '../../protocol/journal-ring.js';
import type { Fence, JournalReply, JournalRequest } from '../../protocol/journal.js';

export class Link {
  readonly #port: MessagePort;
  readonly #ring: RingReader;
  /** How many posts came in, and those of them that are not dealt with: each in front of the entry at its position. */
  #received = 0;
  readonly #posts: NonNullable<JournalPost>[] = [];
  /** How far the ring may be read. */
  #end = 0;
  /** Triples of key, epoch and n that the thread has yet to be told. */
  #acks: number[] = [];
  #outbox: JournalReply[] = [];
  #transfers: ArrayBuffer[] = [];

  /** @param onMessage something has come in, or the thread has woken the store */
  constructor(port: MessagePort, ring: SharedArrayBuffer, onMessage: () => void) {
    this.#port = port;
    this.#ring = new RingReader(ring);
    this.#ring.sleep();
    port.on('message', (post: JournalPost) => {
      this.#receive(post);
      onMessage();
    });
  }

  /** Looks for what has come in; next() gives it. */
  look(): void {
    // In this order: every post that belongs before one of the entries up to the end is among the posts.
    this.#end = this.#ring.written;
    // Only if a counted post is missing: reading the port also swallows wake-up messages (null), and a swallowed
    // wake-up never calls onMessage.
    if (((this.#ring.posts - this.#received) | 0) > 0) this.#fetch();
  }

  /** The same for a thread that has ended: perhaps between a post and its being counted. */
  lookForTheLast(): void {
    this.#fetch();
    this.look();
  }

  #fetch(): void {
    for (let m = receiveMessageOnPort(this.#port); m; m = receiveMessageOnPort(this.#port)) {
      this.#receive(m.message as JournalPost);
    }
  }

  #receive(post: JournalPost): void {
    if (!post) return;
    this.#received = (this.#received + 1) | 0;
    this.#posts.push(post);
  }

  /** Takes the next request, in the order in which the thread made them. */
  next(): JournalRequest | undefined {
    const posts = this.#posts;
    const ring = this.#ring;
    for (let post = posts[0]; post?.at === ring.position; post = posts[0]) {
      const request = post.requests.shift();
      if (request) return request;
      posts.shift();
    }
    if (ring.position !== this.#end) return ring.read();
    if (posts.length === 0) return undefined;
    // Posts that came meanwhile, behind entries that came meanwhile.
    this.#end = posts.at(-1)!.at;
    return ring.read();
  }

  /** From now on the thread wakes the store. What it has written up to now may have woken nobody. */
  sleep(): void {
    this.#ring.sleep();
  }

  /** Operations of the thread, of this weight in bytes, were dealt with. */
  give(bytes: number): void {
    this.#ring.give(bytes);
  }

  /** The operation is durable; tell() says so. */
  acknowledge({ key, epoch, n }: Fence): void {
    this.#acks.push(key, epoch, n);
  }

  /** Sends the acknowledgements, as one message. */
  tell(): void {
    if (this.#acks.length > 0) this.reply({ kind: 'durable', acks: this.#acks });
    this.#acks = [];
    this.flush();
  }

  /** Answers leave as one message at the end of the microtask. */
  reply(message: JournalReply, handedOver: readonly ArrayBuffer[] = []): void {
    for (const buffer of handedOver) this.#transfers.push(buffer);
    if (this.#outbox.push(message) === 1) queueMicrotask(() => this.flush());
  }

  fail(request: number, error: unknown): void {
    this.reply({ kind: 'failed', request, error: toWire(error) });
  }

  flush(): void {
    const outbox = this.#outbox;
    const transfers = this.#transfers;
    if (outbox.length === 0) return;
    this.#outbox = [];
    this.#transfers = [];
    this.#port.postMessage(outbox.length === 1 ? outbox[0] : outbox, transfers);
  }

  close(): void {
    this.flush();
    this.#port.close();
  }
}
