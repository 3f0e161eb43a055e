// Group commit: everything that has arrived is one transaction and one fsync; then everybody is told.
//
// Items are applied in the order of their arrival; on a full disk some may overtake others that wait (WhenFull). A batch
// starts in the next turn of the event loop, so that all that a turn brought in is in it; what arrives during the fsync
// is in the one after.
//
// On a full disk, an operation that somebody waits for with a choice (a create, an accepted run) is refused. What an
// agent has already done (an append, an outcome, a snapshot) is kept, in order, and tried again until there is room;
// later operations of agents queue behind it, so that no gap can arise.

import { CabanaError, isPassing } from '../../protocol/errors.js';
import { COMMIT_MAX_OPS, STORE_FULL_RETRY_MS } from '../../protocol/limits.js';
import { storeError } from './sqlite-errors.js';
import type { OpResult, Store, WriteOp } from './store.js';

/**
 * What becomes of an operation for which the disk has no room.
 * - keep: it waits for room
 * - refuse: it takes its chance, also while earlier ones wait, and is refused if there is no room for it
 * - refuseInOrder: it is refused, also while earlier ones wait, which it must not overtake
 */
export type WhenFull = 'keep' | 'refuse' | 'refuseInOrder';

export interface Item {
  /** Null: a barrier, whose `done` runs when everything before it is durable. */
  op: WriteOp | null;
  /** Of a barrier: without meaning. */
  whenFull: WhenFull;
  /** Called once, when the operation is durable or refused for good. */
  done(result: OpResult): void;
  /** Called each time the operation had to wait for room. */
  stalled?(error: CabanaError): void;
}

export interface CommitterHooks {
  /** Before a batch is taken: submits what has arrived by ways that the event loop does not see. */
  collect?(): void;
  /** The queue is empty: collects once more, and arranges that whatever arrives later calls submit(). */
  awaitMore?(): void;
  /** A commit of this number of operations is durable: before their `done` calls. */
  onCommit?(operations: number): void;
  /** After a batch and its `done` calls. */
  onBatch(): void;
  /** After that: work between two commits. Its final failure (STORE_IO) is the committer's. */
  upkeep?(): Promise<void>;
  /** The storage failed for good; nothing more is committed or acknowledged. */
  onFatal(error: CabanaError): void;
}

const NOTHING: OpResult = { ok: {} };

export class GroupCommitter {
  readonly #store: Store;
  readonly #hooks: CommitterHooks;
  #queue: Item[] = [];
  /** What waits for room on the disk, oldest first; or, as long, until another process lets go of the database. */
  #stalled: Item[] = [];
  /** Why the last that was tried could not be written. */
  #reason = new CabanaError('STORE_FULL', 'the disk is full; the write waits for room');
  #working: Promise<void> | null = null;
  #retry: NodeJS.Timeout | null = null;
  #retryDue = false;
  #fatal: CabanaError | null = null;

  constructor(store: Store, hooks: CommitterHooks) {
    this.#store = store;
    this.#hooks = hooks;
  }

  get stalledCount(): number {
    return this.#stalled.length;
  }

  submit(item: Item): void {
    if (this.#fatal) return item.done({ error: this.#fatal });
    this.#queue.push(item);
    this.#begin();
  }

  /** Whether the loop runs, at whose end `awaitMore` is called. */
  get isWorking(): boolean {
    return this.#working !== null && !this.#fatal;
  }

  #begin(): void {
    if (!this.#working && !this.#fatal) this.#working = this.#work();
  }

  /** Resolves when there is nothing to do: with threads that go on appending, perhaps never. */
  async idle(): Promise<void> {
    while (this.#working) await this.#working;
  }

  /** Resolves when everything submitted so far is durable, what waits for room on the disk excepted; or refused for good. */
  settled(): Promise<void> {
    return new Promise((resolve) => this.submit({ op: null, whenFull: 'keep', done: () => resolve() }));
  }

  /** Tries a last time what waits for room. False: some of it is not on disk. */
  async close(): Promise<boolean> {
    await this.idle();
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
    if (!this.#fatal && this.#stalled.length > 0) await this.#retryStalled();
    if (this.#retry) clearTimeout(this.#retry);
    return !this.#fatal && this.#stalled.length === 0;
  }

  async #work(): Promise<void> {
    try {
      // One loop does all the writing, so that two transactions never overlap.
      while (!this.#fatal && this.#hasMore()) {
        await nextTurn();
        this.#hooks.collect?.();
        if (this.#retryDue) {
          this.#retryDue = false;
          await this.#retryStalled();
        }
        if (this.#queue.length > 0) await this.#commit(this.#takeBatch());
        this.#hooks.onBatch();
        await this.#upkeep();
      }
    } finally {
      this.#working = null;
    }
  }

  #hasMore(): boolean {
    if (this.#queue.length === 0 && !this.#retryDue) this.#hooks.awaitMore?.();
    return this.#queue.length > 0 || this.#retryDue;
  }

  async #upkeep(): Promise<void> {
    try {
      await this.#hooks.upkeep?.();
    } catch (error) {
      // A full disk, or a busy database, is found out by the next commit as well.
      const failure = storeError(error);
      if (!isPassing(failure)) this.fail(failure);
    }
  }

  /** Operations up to the next barrier; or the barrier at the front, so that reads do not hold up commits for long. */
  #takeBatch(): Item[] {
    if (this.#queue[0]?.op === null) return this.#queue.splice(0, 1);
    let end = 0;
    while (end < this.#queue.length && end < COMMIT_MAX_OPS && this.#queue[end]!.op !== null) end++;
    return this.#queue.splice(0, end);
  }

  async #commit(batch: Item[]): Promise<void> {
    if (batch[0]?.op === null) return batch[0].done(NOTHING);
    // While something waits for room, what agents did queues behind it; the rest takes its chance.
    const items = this.#stalled.length > 0 ? batch.filter((item) => !this.#stall(item)) : batch;
    const error = await this.#tryCommit(items);
    if (!error) return;
    if (error.code === 'STORE_IO') return this.fail(error, items);
    if (error.code === 'STORE_UNAVAILABLE') return this.#putOff(items, error);
    // One by one: a small operation may find room, and one that is wrong must not take the others along.
    for (const [i, item] of items.entries()) {
      if (this.#stalled.length > 0 && this.#stall(item)) continue;
      const alone = await this.#tryCommit([item]);
      if (!alone) continue;
      if (alone.code === 'STORE_IO') return this.fail(alone, items.slice(i));
      if (alone.code === 'STORE_UNAVAILABLE') return this.#putOff(items.slice(i), alone);
      if (isPassing(alone)) this.#putOff([item], alone);
      else item.done({ error: alone });
    }
  }

  /**
   * Keeps or refuses what could not be written now. While another process holds the database that is everything, however
   * small: to try each alone would hold up the store, reads included, for as long as SQLite waits, once for each.
   */
  #putOff(items: readonly Item[], error: CabanaError): void {
    this.#reason = error;
    for (const item of items) if (item.whenFull !== 'keep' || !this.#stall(item)) item.done({ error });
  }

  /** Commits the items as one transaction and tells them; the error, if nothing was written. */
  async #tryCommit(items: Item[]): Promise<CabanaError | null> {
    if (items.length === 0) return null;
    let results: OpResult[];
    try {
      results = await this.#store.commit(items.map((item) => item.op!));
    } catch (error) {
      return storeError(error);
    }
    this.#hooks.onCommit?.(items.length);
    items.forEach((item, i) => item.done(results[i]!));
    return null;
  }

  /** While others wait for room: keeps the operation, or refuses it. False: it takes its chance. */
  #stall(item: Item): boolean {
    const error = this.#reason;
    if (item.whenFull === 'refuse') return false;
    if (item.whenFull === 'refuseInOrder') {
      item.done({ error });
      return true;
    }
    // Bounded by each thread's journal backlog. Dropping any of them would leave a gap.
    this.#stalled.push(item);
    item.stalled?.(error);
    this.#armRetry();
    return true;
  }

  #armRetry(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.#retryDue = true;
      this.#begin();
    }, STORE_FULL_RETRY_MS);
  }

  async #retryStalled(): Promise<void> {
    while (this.#stalled.length > 0) {
      const batch = this.#stalled.slice(0, COMMIT_MAX_OPS);
      let error = await this.#tryCommit(batch);
      let written = error ? 0 : batch.length;
      if (error && error.code !== 'STORE_IO' && error.code !== 'STORE_UNAVAILABLE') {
        // The oldest alone: it may find room, or be the one that is wrong.
        error = await this.#tryCommit(batch.slice(0, 1));
        written = error ? 0 : 1;
      }
      if (error?.code === 'STORE_IO') return this.fail(error);
      if (error && !isPassing(error)) {
        batch[0]!.done({ error });
        written = 1;
        error = null;
      }
      this.#stalled.splice(0, written);
      if (error) {
        this.#reason = error;
        this.#armRetry();
        return;
      }
    }
  }

  /**
   * The storage has failed for good: everybody who waits is told, and so is whoever comes from now on.
   * @param unanswered items that were taken out of the queues
   */
  fail(error: CabanaError, unanswered: readonly Item[] = []): void {
    if (this.#fatal) return;
    this.#fatal = error;
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
    const waiting = [...unanswered, ...this.#stalled, ...this.#queue];
    this.#stalled = [];
    this.#queue = [];
    for (const item of waiting) item.done({ error });
    this.#hooks.onFatal(error);
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
