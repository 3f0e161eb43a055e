// The agent threads' links: takes in what they post to the journal, and tells them what is durable.
//
// A session's entries come from one link at a time. When another thread takes the session over (or main ends its run),
// what the old link holds is taken in first, synchronously: whatever a thread had posted before it was given up is kept,
// whatever it posts afterwards meets a newer epoch and is refused.

import type { MessagePort } from 'node:worker_threads';
import { toWire, type CabanaError } from '../../protocol/errors.js';
import { packRows, weightOf, type Fence, type JournalRequest, type Loaded } from '../../protocol/journal.js';
import { STORE_LINGER_MS, STORE_LINGER_WORTH_MS } from '../../protocol/limits.js';
import type { StatusTable } from '../../protocol/status-table.js';
import type { GroupCommitter, Item } from './committer.js';
import { Link } from './link.js';
import type { OpResult, Store, Written } from './store.js';

/** The activation that writes a session's history: by which link, and which row of the table shows how far. */
interface Writer {
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
  readonly #writers = new Map<string, Writer>();
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

  attach(thread: number, port: MessagePort, ring: SharedArrayBuffer): void {
    const link = new Link(port, ring, () => {
      this.#woken();
      this.#takeIn(link);
      // The operation that woke us may already have been taken in by an earlier look. Then no commit is under way
      // whose end would set the sleep flag again, so set it here.
      if (!this.#committer.isWorking) this.#sleep(link);
    });
    this.#links.set(thread, link);
  }

  /** Takes in what the thread had posted, waits until it is durable, and closes the link. */
  async detach(thread: number): Promise<void> {
    const link = this.#links.get(thread);
    if (!link) return;
    this.#links.delete(thread);
    link.lookForTheLast();
    this.#takeIn(link);
    await this.#committer.settled();
    link.close();
  }

  /** Takes in whatever the session's thread has posted up to now. */
  takeInFor(sessionId: string): void {
    const writer = this.#writers.get(sessionId);
    // A wake-up may have been among it: the same as in attach().
    if (writer && this.#takeIn(writer.link) && !this.#committer.isWorking) this.#sleep(writer.link);
  }

  /** Takes in whatever any thread has posted up to now. True: something. */
  collect(): boolean {
    let some = false;
    for (const link of this.#links.values()) if (this.#takeIn(link)) some = true;
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
    link.sleep();
    // Look once more: a request that came after the last look but before the flag was set has woken nobody. Taking it
    // in keeps the committer's loop going, or restarts it, and that loop ends here again. After a storage failure there
    // is no loop and the request is refused at once, so look again ourselves.
    if (this.#takeIn(link) && !this.#committer.isWorking) setImmediate(() => this.#sleep(link));
  }

  /**
   * Busy-waits for STORE_LINGER_MS if the last sleep was short enough for that to pay off.
   * @returns whether something arrived
   */
  #lingered(): boolean {
    // After acknowledging several threads, do not spin: they need the cores to send their next operations.
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
   * Takes in everything the thread has sent, in its order. Reentrant: a load takes in the link of the session's previous
   * thread, whose loads may take in this one again. So the read position lives in the Link, and requests are taken from
   * it one at a time.
   * @returns whether there was anything
   */
  #takeIn(link: Link): boolean {
    link.look();
    let request = link.next();
    if (!request) return false;
    for (; request; request = link.next()) this.#receive(link, request);
    return true;
  }

  /** The session has left memory, or was deleted: its row of the table is not this link's any more. */
  forget(sessionId: string, epoch?: number): void {
    if (epoch === undefined || this.#writers.get(sessionId)?.epoch === epoch) this.#writers.delete(sessionId);
  }

  /** Shows in the table how far the session is durable, in the row that it still has. */
  publish(written: Written): void {
    if (!written.head) return;
    const writer = this.#writers.get(written.head.sessionId);
    if (!writer || writer.epoch !== written.head.epoch) return;
    // The row may get a new owner between this check and the write. That does no harm: the new owner's activation waits
    // for its `load`, which this thread publishes later, over what was written here.
    if (this.#table.get(writer.slot, 'generation') !== writer.generation) return;
    this.#table.setDurable(writer.slot, written.head.seq, written.head.n);
  }

  /** After a batch: one message of acknowledgements per link. */
  tellAll(): void {
    this.#told = this.#toTell.size;
    for (const link of this.#toTell) link.tell();
    this.#toTell.clear();
  }

  #receive(link: Link, request: JournalRequest): void {
    switch (request.kind) {
      case 'load':
        return this.#load(link, request);
      case 'read':
        return this.#read(link, request);
      case 'append':
      case 'start':
      case 'rename':
      case 'end':
        return this.#write(link, request);
      case 'save':
        return this.#save(link, request);
      default:
        return request satisfies never;
    }
  }

  #load(link: Link, request: Extract<JournalRequest, { kind: 'load' }>): void {
    const { sessionId, slot, generation } = request;
    this.takeInFor(sessionId);
    // What the activation before it has done comes before it, even if that waits for room: its epoch ends with the load.
    const whenFull = this.#writers.has(sessionId) ? 'refuseInOrder' : 'refuse';
    const done = (result: OpResult): void => {
      if ('error' in result) return link.fail(request.request, result.error);
      const loaded = result.ok.loaded ?? null;
      if (loaded) this.#writers.set(sessionId, { link, slot, generation, epoch: loaded.epoch });
      this.publish(result.ok);
      replyLoaded(link, request.request, loaded);
    };
    this.#committer.submit({ op: { kind: 'load', sessionId }, whenFull, done });
  }

  /** Reads behind everything that the thread posted before it asked. */
  #read(link: Link, request: Extract<JournalRequest, { kind: 'read' }>): void {
    const done = (): void => {
      this.#store.entries(request.key, request.from, request.limit).then(
        (entries) => {
          const rows = packRows(entries);
          link.reply({ kind: 'entries', request: request.request, rows }, [rows.meta.buffer, rows.bodies.buffer]);
        },
        (error: unknown) => link.fail(request.request, error),
      );
    };
    this.#committer.submit({ op: null, whenFull: 'keep', done });
  }

  #save(link: Link, request: Extract<JournalRequest, { kind: 'save' }>): void {
    const weight = weightOf(request);
    const stalled = (error: CabanaError): void => link.fail(request.request, error);
    const done = (result: OpResult): void => {
      link.give(weight);
      if ('error' in result) return link.fail(request.request, result.error);
      this.written(link, request, result.ok);
      link.reply({ kind: 'saved', request: request.request });
    };
    this.#committer.submit({ op: request, whenFull: 'keep', done, stalled });
  }

  #write(link: Link, op: ThreadOp): void {
    this.#committer.submit(new ThreadWrite(this, link, op));
  }

  /** An operation of a thread is durable. */
  written(link: Link, op: Fence, written: Written): void {
    this.publish(written);
    link.acknowledge(op);
    this.#toTell.add(link);
    this.#onWritten(written);
  }
}

type ThreadOp = Exclude<JournalRequest, { kind: 'load' | 'read' | 'save' }>;

/** An operation that its thread does not ask an answer for. One object each: this is the path of every entry. */
class ThreadWrite implements Item {
  readonly op: ThreadOp;
  readonly whenFull = 'keep';
  readonly #links: Links;
  readonly #link: Link;
  readonly #weight: number;

  constructor(links: Links, link: Link, op: ThreadOp) {
    this.#links = links;
    this.#link = link;
    this.op = op;
    this.#weight = weightOf(op);
  }

  done(result: OpResult): void {
    this.#link.give(this.#weight);
    if ('error' in result) this.stalled(result.error);
    else this.#links.written(this.#link, this.op, result.ok);
  }

  stalled(error: CabanaError): void {
    this.#link.reply({ kind: 'refused', key: this.op.key, epoch: this.op.epoch, error: toWire(error) });
  }
}

function replyLoaded(link: Link, request: number, loaded: Loaded | null): void {
  if (!loaded) return link.reply({ kind: 'loaded', request, loaded: null });
  const tail = packRows(loaded.tail);
  link.reply({ kind: 'loaded', request, loaded: { ...loaded, tail } }, [tail.meta.buffer, tail.bodies.buffer]);
}
