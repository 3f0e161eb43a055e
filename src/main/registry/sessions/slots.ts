// Which rows of the status table are taken. The free ones are a list within the table itself: an eviction of a hundred
// thousand agents leaves nothing on the heap.

import { CabanaError } from '../../../protocol/errors.js';
import type { StatusTable } from '../../../protocol/status-table.js';

export interface Slot {
  slot: number;
  generation: number;
}

export class Slots {
  readonly #table: StatusTable;
  /** The row that was freed last, plus one; each free row names the one before it in its `runNo`. 0: none. */
  #free = 0;
  #next = 0;

  constructor(table: StatusTable) {
    this.#table = table;
  }

  /** @throws CabanaError HOST_OVERLOADED: the table is at its maximum */
  take(): Slot {
    const slot = this.#free > 0 ? this.#free - 1 : this.#next++;
    if (this.#free > 0) this.#free = this.#table.get(slot, 'runNo');
    while (slot >= this.#table.capacityRows) {
      if (!this.#table.grow()) throw new CabanaError('HOST_OVERLOADED', 'the status table is full');
    }
    return { slot, generation: this.#table.clearRow(slot) };
  }

  /** Only when no thread writes to the row any more: its next owner's figures would be overwritten. */
  give({ slot }: Slot): void {
    this.#table.set('main', slot, 'runNo', this.#free);
    this.#free = slot + 1;
  }
}
