// Pages of records that the store has answered, kept while nothing of the list changes: a list that nobody changes costs
// no message, however often it is asked for.
//
// Why no page is stale: the store's thread grows the version within the commit of a change, before anybody is told of
// it, and reads no page meanwhile. A page that was asked for at version v holds every change up to v. While the version is
// still v, no later change has begun; so it is what the store would answer now. Pages that are still on their way are
// shared by the same rule.

import type { Remote } from '../../../protocol/calls.js';
import type { StoreCalls } from '../../../protocol/control.js';
import { LIST_KEPT_MAX_ROWS } from '../../../protocol/limits.js';
import { recordPage } from '../../../protocol/record-page.js';
import type { ListQuery, RecordPage } from '../../../protocol/session.js';
import type { StatusTable } from '../../../protocol/status-table.js';

interface Kept {
  page: Promise<RecordPage>;
  /** 0 while it is on its way. */
  rows: number;
}

export class KeptPages {
  readonly #store: Remote<StoreCalls>;
  readonly #table: StatusTable;
  /** Of the version #version, the oldest first. */
  #pages = new Map<string, Kept>();
  #version = -1n;
  #rows = 0;

  constructor(store: Remote<StoreCalls>, table: StatusTable) {
    this.#store = store;
    this.#table = table;
  }

  /** The records are shared with other callers: they are read only. */
  page(query: ListQuery): Promise<RecordPage> {
    this.#dropOld();
    const { limit, before, q, date, type, includePinned } = query;
    const key = JSON.stringify([limit, before, q, date, type, includePinned]);
    const known = this.#pages.get(key);
    if (known) return known.page;
    const kept: Kept = { page: this.#store.page(query).then(recordPage), rows: 0 };
    this.#pages.set(key, kept);
    kept.page.then(
      ({ records }) => this.#weigh(key, kept, records.length),
      () => this.#forget(key, kept),
    );
    return kept.page;
  }

  #dropOld(): void {
    const version = this.#table.listVersion;
    if (version === this.#version) return;
    this.#version = version;
    this.#pages = new Map();
    this.#rows = 0;
  }

  /** An empty page counts as well. */
  #weigh(key: string, kept: Kept, records: number): void {
    if (this.#pages.get(key) !== kept) return;
    kept.rows = Math.max(records, 1);
    this.#rows += kept.rows;
    for (const [oldest, { rows }] of this.#pages) {
      if (this.#rows <= LIST_KEPT_MAX_ROWS) return;
      this.#pages.delete(oldest);
      this.#rows -= rows;
    }
  }

  #forget(key: string, kept: Kept): void {
    if (this.#pages.get(key) === kept) this.#pages.delete(key);
  }
}
