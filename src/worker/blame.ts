// Whose code takes the thread down: written into the status table at the last moment, where main finds it.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { StatusTable } from '../protocol/status-table.js';

export class Blame {
  /** The slot on whose behalf code runs, through its timers and promises as well. */
  readonly #slots = new AsyncLocalStorage<number>();

  constructor(table: StatusTable, thread: number) {
    const accuse = (): void => {
      const slot = this.#slots.getStore();
      if (slot !== undefined) table.setThread(thread, 'culprit', slot);
    };
    // A monitor: the exception goes on to end the thread. An unhandled rejection comes by here as well.
    process.on('uncaughtExceptionMonitor', accuse);
    // process.exit() calls this in the context of whoever called it.
    process.on('exit', accuse);
  }

  /** Runs the code of the session in this slot. */
  on<T>(slot: number, code: () => T): T {
    return this.#slots.run(slot, code);
  }
}
