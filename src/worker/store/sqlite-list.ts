// The session list: pages of records by filters and text. Every filter is served by an index, and a text either by the
// newest rows or by the index of sqlite-search.ts, so that no page reads the whole table. SQLite writes the rows out as JSON
// itself: most of the time of a page would go to its columns' way into JavaScript, one by one.

import { fold } from '../../protocol/fold.js';
import { LIST_LIMIT_DEFAULT_ROWS } from '../../protocol/limits.js';
import type { ListedPage, ListedRow } from '../../protocol/record-page.js';
import type { ListQuery } from '../../protocol/session.js';
import { DOCID_BETWEEN, KEY_OF_DOCID, MINUTE_OF_DOCID, UNSEARCHABLE, matchExpression } from './sqlite-search.js';
import type { Statements } from './statements.js';

/** In the order of ListedRow. */
const LISTED = 'id, name, source, agent_profile, working_dir, pinned, created_at, updated_at, quarantine, stats';
/** In the order of the rows that it is made of: a subquery with a LIMIT keeps its ORDER BY. */
const AS_JSON = `json_group_array(json_array(${LISTED}))`;
/** Of the search index, with the minute of its creation. */
type Match = readonly [...ListedRow, minute: number];

const NONE = '[]';
const NEWEST_FIRST = 'ORDER BY created_at DESC, id DESC';
/** A search looks this many of the newest rows over before it asks the index. */
const SCAN_DEFAULT_ROWS = 2000;

export class SqliteList {
  readonly #statements: Statements;
  readonly #scanRows: number;

  constructor(statements: Statements, scanRows = SCAN_DEFAULT_ROWS) {
    this.#statements = statements;
    this.#scanRows = scanRows;
  }

  page(query: ListQuery): ListedPage {
    const limit = query.limit ?? LIST_LIMIT_DEFAULT_ROWS;
    const withPinned = query.before === undefined && (query.includePinned ?? true);
    return {
      pinned: withPinned ? this.#select(new Filter(query, true), Infinity) : NONE,
      others: this.#select(new Filter(query, false), limit + 1),
      limit,
    };
  }

  /** @returns JSON of ListedRow[] */
  #select(filter: Filter, limit: number): string {
    const needle = filter.needle;
    const bound = limit === Infinity ? -1 : limit;
    if (needle === '') {
      const rows = `SELECT ${LISTED} FROM sessions WHERE ${filter.sql} ${NEWEST_FIRST} LIMIT ?`;
      const sql = `SELECT ${AS_JSON} FROM (${rows})`;
      return this.#statements.raw<[string]>(sql).get(...filter.values, bound)![0];
    }
    if (UNSEARCHABLE.test(needle)) return NONE;
    // A common text fills the page from the newest rows, in their order; one that is in few of them has its index.
    const scanned = `SELECT ${LISTED}, folded FROM sessions WHERE ${filter.sql} ${NEWEST_FIRST} LIMIT ?`;
    const rows = `SELECT ${LISTED} FROM (${scanned}) WHERE instr(folded, ?) > 0 LIMIT ?`;
    const [json, count] = this.#statements
      .raw<[string, number]>(`SELECT ${AS_JSON}, count(*) FROM (${rows})`)
      .get(...filter.values, this.#scanRows, needle, bound)!;
    return count === limit || !this.#exceedsScan(filter) ? json : JSON.stringify(this.#search(filter, limit));
  }

  /** Whether there is more than a scan looks over. */
  #exceedsScan(filter: Filter): boolean {
    const sql = `SELECT 1 FROM sessions WHERE ${filter.sql} LIMIT 1 OFFSET ${this.#scanRows}`;
    return this.#statements.get(sql).get(...filter.values) !== undefined;
  }

  #search(filter: Filter, limit: number): Match[] {
    // CROSS JOIN and the plus signs: the index of texts leads, whatever others there are.
    const sql = `SELECT ${LISTED}, ${MINUTE_OF_DOCID} FROM sessions_search CROSS JOIN sessions ON key = ${KEY_OF_DOCID}
      WHERE sessions_search MATCH ? AND ${DOCID_BETWEEN} AND ${filter.sqlUnindexed} AND instr(folded, ?) > 0
      ORDER BY sessions_search.rowid DESC`;
    const { needle, kind, span, values } = filter;
    const matches = this.#statements.raw<Match>(sql).iterate(matchExpression(needle, kind), ...span, ...values, needle);
    const found: Match[] = [];
    for (const match of matches) {
      // Within one minute they come in no order: it is read to its end.
      if (found.length >= limit && match[10] < found[limit - 1]![10]) break;
      found.push(match);
    }
    found.sort((a, b) => (a[6] === b[6] ? (a[0] < b[0] ? 1 : -1) : a[6] < b[6] ? 1 : -1));
    return found.slice(0, limit);
  }
}

/** The filters of a query as SQL, each one served by an index: for the pinned sessions, or for the others. */
class Filter {
  /** The text to find, folded; empty: no filter. */
  readonly needle: string;
  readonly kind: string | undefined;
  /** Instants that created_at is between, both included: to the minute at least. */
  readonly span: readonly [string, string];
  readonly values: readonly string[];
  readonly #parts: readonly string[];

  constructor({ q, type, date, before }: ListQuery, pinned: boolean) {
    const parts = ['deleted_at IS NULL', `pinned = ${pinned ? 1 : 0}`];
    const values: string[] = [];
    this.needle = fold(q ?? '');
    this.kind = type === undefined || type === 'coding' ? type : `s:${type}`;
    if (this.kind !== undefined) {
      parts.push('kind = ?');
      values.push(this.kind);
    }
    let [from, to] = ['0000-01-01', '9999-12-31T23:59:59.999Z'];
    if (date !== undefined) {
      // A range, which the index serves, instead of a LIKE.
      parts.push('created_at >= ?', 'created_at < ?');
      values.push(date, `${date}~`);
      from = date + from.slice(date.length);
      to = date + to.slice(date.length);
    }
    if (before !== undefined) {
      // An instant, or `instant,id` as a page's nextBefore has it.
      const [instant, id] = before.split(',') as [string, string | undefined];
      parts.push(id === undefined ? 'created_at < ?' : '(created_at, id) < (?, ?)');
      values.push(instant, ...(id === undefined ? [] : [id]));
      if (instant < to) to = instant;
    }
    this.span = [from, to];
    this.values = values;
    this.#parts = parts;
  }

  get sql(): string {
    return this.#parts.join(' AND ');
  }

  /** The same, served by no index. */
  get sqlUnindexed(): string {
    return this.#parts.map((part) => (part.startsWith('(') ? part : `+${part}`)).join(' AND ');
  }
}
