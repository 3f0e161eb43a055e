// Whose code takes the thread down: written into the status table at the last moment, where main finds it.

import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { types } from 'node:util';
import type { StatusTable } from '../protocol/status-table.js';
import { CULPRIT_LEFT } from '../protocol/table-columns.js';
import { setImmediate } from './platform.js';

/** How many causes deep an uncaught error is handed on. */
const CAUSES_MAX = 8;

/** One activation. Its row of the table is another session's when it has left memory; what it left behind still runs. */
export interface Suspect {
  /** Null: it has left memory. */
  slot: number | null;
}

export class Blame {
  /** On whose behalf code runs, through its timers and promises as well. */
  readonly #suspects = new AsyncLocalStorage<Suspect>();

  readonly #table: StatusTable;
  readonly #thread: number;

  constructor(table: StatusTable, thread: number) {
    this.#table = table;
    this.#thread = thread;
    // A monitor: the exception goes on to end the thread. An unhandled rejection comes by here as well.
    process.on('uncaughtExceptionMonitor', (error) => {
      this.#accuse();
      // If an agent's own listener keeps the thread alive after all, there is nobody to blame.
      setImmediate(() => this.#table.setThread(this.#thread, 'culprit', -1)).unref();
      cutCauses(error);
    });
    // process.exit() calls this in the context of whoever called it.
    process.on('exit', () => this.#accuse());
  }

  #accuse(): void {
    const suspect = this.#suspects.getStore();
    if (suspect) this.#table.setThread(this.#thread, 'culprit', suspect.slot ?? CULPRIT_LEFT);
  }

  /**
   * Runs code of this activation. Until it returns it is shown in the table: a full heap ends the thread without a word.
   * It has an async context of its own: what it sets with AsyncLocalStorage.enterWith() would otherwise stay with the port
   * that its message came from, for all sessions after it.
   */
  on<T>(suspect: Suspect, code: () => T): T {
    const before = this.#table.getThread(this.#thread, 'entered');
    this.#table.setThread(this.#thread, 'entered', suspect.slot ?? -1);
    try {
      return new AsyncResource('CabanaAgent').runInAsyncScope(() => this.#suspects.run(suspect, code));
    } finally {
      this.#table.setThread(this.#thread, 'entered', before);
    }
  }
}

/**
 * Node hands an uncaught error to main with its causes, one within the other: if they go round in a circle, or are very
 * many, main's stack overflows, and that ends the process. So the chain is cut.
 */
function cutCauses(error: unknown): void {
  try {
    let last = error;
    // Not by instanceof: another realm's errors (node:vm) go the same way.
    for (let depth = 0; depth < CAUSES_MAX && types.isNativeError(last); depth++) {
      // Node cannot read one without a prototype on the other side.
      if (Object.getPrototypeOf(last) === null) process.exit(1);
      last = last.cause;
    }
    if (!types.isNativeError(last)) return;
    last.cause = undefined;
    if (last.cause === undefined) return;
  } catch {
    // It is frozen, or a proxy.
  }
  // It cannot be cut: then the thread ends without it.
  process.exit(1);
}
