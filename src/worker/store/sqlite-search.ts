// The search index of the sessions table: an FTS5 table of trigrams, walked newest first.
//
// Its row ids are made of the minute of creation and the session's key (DOCID), so that their order is the list's order
// but for the sessions of one minute: a search stops as soon as its page is full, and a span of time is a span of ids.
// Its terms are the trigrams of `folded`, and the session's kind as one term more. Two fillers at the end make every
// character begin a trigram; FTS5's own index of the terms' first one and two characters then serves shorter texts.
// The index holds no positions: a match is verified against `folded`. To keep false candidates rare, repetitions within
// a run of one character are numbered: "000" is in most zero-padded ids, its sixth repetition in few.

import type { Database } from 'better-sqlite3';

const GRAM_CHARS = 3;
/** Between name and id in `folded`, so that no match spans the two, and the filler after them. */
export const SEPARATOR = '\u0001';
/** No name or id holds these in `folded`: the one separates, and SQLite's texts may end at the other. */
export const UNSEARCHABLE = /[\0\u0001]/;
/** Begins the term of a kind, and no trigram of a usual text. */
const KIND = '\uf8ff';
/** Ends the term of a trigram that repeats the one before it, with how many did. */
const REPEAT = 0xe100;

/** Low bits of an id of the index: sessions of a store at most, deleted ones included. */
const KEY_BITS = 30;
export const SEARCH_MAX_KEY = 2 ** KEY_BITS - 1;

/**
 * An id of the index, as SQL: it is wider than JavaScript's integers. Years of more than four digits, which have a sign,
 * come before all others as text, and here.
 */
function docid(createdAt: string, key: string): string {
  return `((coalesce(unixepoch(${createdAt}), unixepoch('0000-01-01')) / 60) << ${KEY_BITS} | ${key})`;
}

const DOCID = docid('created_at', 'key');
export const KEY_OF_DOCID = `(sessions_search.rowid & ${SEARCH_MAX_KEY})`;
export const MINUTE_OF_DOCID = `(sessions_search.rowid >> ${KEY_BITS})`;
/** Created between two instants, to the minute; both are given as text. */
export const DOCID_BETWEEN = `sessions_search.rowid BETWEEN ${docid('?', '0')} AND ${docid('?', String(SEARCH_MAX_KEY))}`;

export const CREATE_SEARCH = `
  CREATE VIRTUAL TABLE sessions_search USING fts5 (
    terms, content = '', contentless_delete = 1, columnsize = 1, detail = 'none', tokenize = 'ascii', prefix = '1 2'
  )`;
/** Sorted before the terms are made: FTS5 takes ids in their order several times as fast. */
export const INDEX_ALL = `
  WITH sorted AS MATERIALIZED (
    SELECT ${DOCID} AS docid, folded, kind FROM sessions WHERE deleted_at IS NULL ORDER BY docid)
  INSERT INTO sessions_search (rowid, terms) SELECT docid, search_terms(folded, kind) FROM sorted`;
/** By key, twice. No INSERT ... SELECT: that is a transaction of its own within ours, and FTS5 writes out at each. */
export const INDEX_ONE = `INSERT INTO sessions_search (rowid, terms) VALUES (
  (SELECT ${DOCID} FROM sessions WHERE key = ?), (SELECT search_terms(folded, kind) FROM sessions WHERE key = ?))`;
/** By key. */
export const UNINDEX_ONE = `DELETE FROM sessions_search WHERE rowid = (SELECT ${DOCID} FROM sessions WHERE key = ?)`;

/** Gives SQL the function search_terms(folded, kind): before the schema is migrated. */
export function defineSearchTerms(db: Database): void {
  db.function('search_terms', { deterministic: true }, (folded, kind) =>
    [kindTerm(kind as string), ...grams(`${folded as string}${SEPARATOR.repeat(GRAM_CHARS - 1)}`)].join(' '),
  );
}

/** What to MATCH for the sessions that may hold `needle` (folded, not empty) and are of this kind. */
export function matchExpression(needle: string, kind: string | undefined): string {
  const quoted = grams(needle).map((term) => `"${term}"`);
  if (quoted.length === 0) quoted.push(`"${termText(needle)}" *`);
  if (kind !== undefined) quoted.push(`"${kindTerm(kind)}"`);
  return quoted.join(' AND ');
}

function grams(text: string): string[] {
  const characters = [...termText(text)];
  const terms: string[] = [];
  let repeats = 0;
  for (let i = 0; i + GRAM_CHARS <= characters.length; i++) {
    const [a, b, c] = [characters[i]!, characters[i + 1]!, characters[i + 2]!];
    repeats = a === b && b === c && a === characters[i - 1] ? repeats + 1 : 0;
    terms.push(repeats === 0 ? a + b + c : a + b + c + String.fromCharCode(REPEAT + repeats));
  }
  return terms;
}

function kindTerm(kind: string): string {
  return KIND + termText(kind);
}

/**
 * Of ASCII, the index's tokenizer keeps letters and digits alone together, and ignores case: everything else of it is
 * put where Unicode has nothing of its own.
 */
function termText(text: string): string {
  return text.replace(/[\0-/:-`{-\x7f]/g, (character) => String.fromCharCode(0xe000 + character.charCodeAt(0)));
}
