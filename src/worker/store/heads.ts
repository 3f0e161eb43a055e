// The heads of the sessions that are in use (epoch, entries appended by it, highest seq), in memory.
//
// This process alone writes the database (data-dir.ts), so a head is what the tables say. Heads change only inside a
// transaction of sqlite-store.ts, which puts them back as they were if the transaction fails.

import { CabanaError } from '../../protocol/errors.js';
import type { Fence } from '../../protocol/journal.js';
import type { Head } from './store.js';

export class Heads {
  readonly #byId = new Map<string, Head>();
  readonly #byKey = new Map<number, Head>();
  /** As they were before the open transaction; null: not there. */
  readonly #before = new Map<string, Head | null>();

  /** The transaction is durable: its heads stand. */
  keep(): void {
    this.#before.clear();
  }

  /** The transaction failed: the heads are as they were before it. */
  undo(): void {
    for (const [id, head] of this.#before) {
      this.#remove(id);
      if (head) this.#place(head);
    }
    this.#before.clear();
  }

  /** To look at only. */
  of(sessionId: string): Head | undefined {
    return this.#byId.get(sessionId);
  }

  /** The head as this transaction may change it. */
  change(sessionId: string): Head | undefined {
    this.#remember(sessionId);
    return this.#byId.get(sessionId);
  }

  /**
   * The head, as this transaction may change it, if the operation comes from the current activation and follows the one
   * before it.
   * @param adds entries of the journal that the operation adds
   * @throws CabanaError STALE_EPOCH, JOURNAL_GAP
   */
  fenced(op: Fence, adds: 0 | 1): Head {
    const head = this.#byKey.get(op.key);
    if (!head || head.epoch !== op.epoch) {
      throw new CabanaError('STALE_EPOCH', `epoch ${op.epoch} was superseded by ${head?.epoch ?? 'its release'}`);
    }
    if (op.n !== head.n + adds) {
      throw new CabanaError('JOURNAL_GAP', `entry ${op.n} of epoch ${op.epoch} does not follow entry ${head.n}`);
    }
    this.#remember(head.sessionId);
    return head;
  }

  /** In the place of the one that the session had, if it had one. */
  put(head: Head): void {
    this.#remember(head.sessionId);
    this.#place(head);
  }

  /** Forgets a head: whatever still comes for it is stale. */
  drop(sessionId: string): void {
    this.#remember(sessionId);
    this.#remove(sessionId);
  }

  #remember(sessionId: string): void {
    if (this.#before.has(sessionId)) return;
    const head = this.#byId.get(sessionId);
    this.#before.set(sessionId, head ? { ...head } : null);
  }

  #place(head: Head): void {
    this.#byId.set(head.sessionId, head);
    this.#byKey.set(head.key, head);
  }

  #remove(sessionId: string): void {
    const head = this.#byId.get(sessionId);
    if (!head) return;
    this.#byId.delete(sessionId);
    this.#byKey.delete(head.key);
  }
}
