// What list must be answered: every field of every row, and how the page goes on. Names change meanwhile, so that a page
// from before a change is told from one after it.

import { isDeepStrictEqual } from 'node:util';
import type { Host, ListQuery, SessionPage, SessionRow } from '../../src/main/index.js';
import type { SessionRecord } from '../../src/protocol/session.js';
import { PINNED, createdAt, idOf, pageOf, recordOf } from '../databases.js';
import type { BenchRun } from '../harness.js';

/** Sessions of a page that are renamed, one after the other. */
const RENAMED = 10;
/** From one session that is asked for by itself to the next. A prime, so that all have their turn before one comes again. */
const STRIDE = 7919;

/** A host on a database of databases.ts, and what has been changed there since. */
export class KnownSessions {
  readonly #b: BenchRun;
  readonly #pages = new Map<string, ReturnType<typeof pageOf>>();
  readonly #changed = new Map<number, SessionRow>();
  #changes = 0;
  #asked = 0;

  constructor(
    b: BenchRun,
    readonly host: Host,
    readonly sessions: number,
  ) {
    this.#b = b;
  }

  #page(query: ListQuery): ReturnType<typeof pageOf> {
    const key = JSON.stringify(query);
    const page = this.#pages.get(key) ?? pageOf(this.sessions, query);
    this.#pages.set(key, page);
    return page;
  }

  ids(query: ListQuery): string[] {
    return this.#page(query).indexes.map(idOf);
  }

  #row(i: number): SessionRow {
    return this.#changed.get(i) ?? rowOf(recordOf(i));
  }

  /** Gives a session of that page another name (of an empty page: another session), so that no page that was kept holds. */
  async rename(query: ListQuery): Promise<void> {
    const { indexes } = this.#page(query);
    const n = this.#changes++;
    const i = indexes.length > 0 ? indexes[n % Math.min(indexes.length, RENAMED)]! : n % PINNED;
    const name = `${recordOf(i).name} v${n}`;
    const before = this.#row(i);
    const row = await this.host.registry.edit(idOf(i), { name });
    const known = { ...before, name, updatedAt: row?.updatedAt ?? '' };
    this.#b.check(known.updatedAt >= before.updatedAt, `${known.id} was changed after ${before.updatedAt}`);
    this.#checkRow(row, known);
    this.#changed.set(i, known);
  }

  /** Quick, so that it may be done between two calls that are timed: the ids, and the names. */
  checkNames(query: ListQuery, { rows }: SessionPage, what: string): void {
    const { indexes } = this.#page(query);
    const same = rows.length === indexes.length && rows.every(({ id }, k) => id === idOf(indexes[k]!));
    this.#b.check(same, `${what}: these are other rows`);
    for (const [k, i] of indexes.entries()) {
      const known = this.#changed.get(i)?.name ?? rows[k]!.name;
      this.#b.check(rows[k]!.name === known, `${what}: the name of ${idOf(i)} is "${rows[k]!.name}", not "${known}"`);
    }
  }

  /** Everything. */
  checkPage(query: ListQuery, { rows, hasMore, nextBefore }: SessionPage, what: string): void {
    const b: BenchRun = this.#b;
    const page = this.#page(query);
    const { indexes } = page;
    for (const [k, i] of indexes.entries()) this.#checkRow(rows[k], this.#row(i));
    const next = page.hasMore ? `${createdAt(indexes.at(-1)!)},${idOf(indexes.at(-1)!)}` : null;
    b.check(hasMore === page.hasMore && nextBefore === next, `${what}: goes on with ${nextBefore} instead of ${next}`);
  }

  /** A session that was not asked for by itself before: no answer that was kept is the one to this question. */
  unasked(): number {
    return (this.#asked++ * STRIDE) % this.sessions;
  }

  checkSnapshot(i: number, row: SessionRow | undefined): void {
    this.#checkRow(row, this.#row(i));
  }

  #checkRow(row: SessionRow | undefined, known: SessionRow): void {
    if (isDeepStrictEqual(row, known)) return;
    const shown = Object.entries(row ?? {});
    const wrong = Object.entries(known).filter((field) => !shown.some((other) => isDeepStrictEqual(other, field)));
    this.#b.check(false, `the row of ${known.id} does not have ${JSON.stringify(Object.fromEntries(wrong))}`);
  }
}

/** The row of a session that is on disk and nowhere else. */
function rowOf(record: SessionRecord): SessionRow {
  const { sessionId, source, agentProfile, params: _params, quarantine: _quarantine, stats, ...shown } = record;
  const { totalCostUsd, latestLatencyMs, ...figures } = stats;
  return {
    ...shown,
    ...figures,
    id: sessionId,
    status: 'idle',
    source: source!,
    agentProfile: agentProfile!,
    totalCost: totalCostUsd,
    latestLatency: latestLatencyMs,
  };
}
