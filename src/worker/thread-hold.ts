// Which session's code holds the thread, and since when: shown in the thread's block of the status table, where the
// watchdog reads it.

import type { StatusTable } from '../protocol/status-table.js';
import type { CpuClock } from './cpu-clock.js';
import { unixMs } from './platform.js';

export class ThreadHold {
  readonly #table: StatusTable;
  readonly #thread: number;
  readonly #cpu: CpuClock;

  constructor(table: StatusTable, thread: number, cpu: CpuClock) {
    this.#table = table;
    this.#thread = thread;
    this.#cpu = cpu;
  }

  /** A cpu run, or a compaction, of the session in this slot has the thread from now on. */
  take(slot: number, runNo: number): void {
    this.#table.setThread(this.#thread, 'sinceMs', unixMs());
    this.#table.setThread(this.#thread, 'runNo', runNo);
    this.#table.setThread(this.#thread, 'slot', slot);
    this.#cpu.hold();
  }

  /** It is over. Nothing, if it does not hold the thread (any more). */
  letGo(runNo: number): void {
    if (!this.#isBy(runNo)) return;
    this.#cpu.letGo();
    this.#table.setThread(this.#thread, 'slot', -1);
    this.#table.setThread(this.#thread, 'runNo', 0);
    this.#table.setThread(this.#thread, 'yieldedNo', 0);
  }

  /** Whether the run waits in a yield of its own: what hangs meanwhile is not this run. */
  yielded(runNo: number, waits: boolean): void {
    if (this.#isBy(runNo)) this.#table.setThread(this.#thread, 'yieldedNo', waits ? runNo : 0);
  }

  #isBy(runNo: number): boolean {
    return this.#table.getThread(this.#thread, 'runNo') === runNo;
  }
}
