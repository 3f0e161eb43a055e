// Which rows of the status table are taken.

import { CabanaError } from '../../protocol/errors.js';
import type { StatusTable } from '../../protocol/status-table.js';

export interface Slot {
  slot: number;
  generation: number;
}

export class Slots {
  readonly #table: StatusTable;
  readonly #free: number[] = [];
  #next = 0;

  constructor(table: StatusTable) {
    this.#table = table;
  }

  /** @throws CabanaError HOST_OVERLOADED: the table is at its maximum */
  take(): Slot {
    const slot = this.#free.pop() ?? this.#next++;
    while (slot >= this.#table.capacityRows) {
      if (!this.#table.grow()) throw new CabanaError('HOST_OVERLOADED', 'the status table is full');
    }
    return { slot, generation: this.#table.clearRow(slot) };
  }

  /** Only when no thread writes to the row any more: its next owner's figures would be overwritten. */
  give(slot: Slot): void {
    this.#free.push(slot.slot);
  }
}
