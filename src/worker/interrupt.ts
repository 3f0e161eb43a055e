// How a run learns that it should stop: from the status table, without a turn of the event loop, or by its AbortSignal.

import { INTERRUPT_REASONS, interruptReasonFromNumber, type InterruptReason } from '../protocol/interrupt.js';
import type { StatusTable } from '../protocol/status-table.js';
import { AgentInterrupted } from './agent.js';

/**
 * The interrupt of one run. Main writes the number of the run that is to stop into the session's row; numbers are never
 * given twice, so an interrupt that comes late names a run that is over and touches no other.
 */
export class RunInterrupt {
  readonly #table: StatusTable;
  readonly #slot: number;
  readonly #runNo: number;
  readonly #words: Int32Array;
  readonly #index: number;
  #controller: AbortController | null = null;

  constructor(table: StatusTable, slot: number, runNo: number) {
    this.#table = table;
    this.#slot = slot;
    this.#runNo = runNo;
    const { words, index } = table.wordOf(slot, 'interruptRunNo');
    this.#words = words;
    this.#index = index;
  }

  get requested(): boolean {
    return Atomics.load(this.#words, this.#index) === this.#runNo;
  }

  get reason(): InterruptReason {
    return interruptReasonFromNumber(this.#table.get(this.#slot, 'interruptReason'));
  }

  /** @throws AgentInterrupted if this run was asked to stop */
  check(): void {
    if (Atomics.load(this.#words, this.#index) === this.#runNo) throw this.error();
  }

  error(): AgentInterrupted {
    return new AgentInterrupted(INTERRUPT_REASONS[this.reason].message);
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.requested) this.abort();
    return this.#controller.signal;
  }

  /** Main's message for asynchronous code; the table was written before it was sent. */
  abort(): void {
    if (this.#controller && !this.#controller.signal.aborted) this.#controller.abort(this.error());
  }
}
