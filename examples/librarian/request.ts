// What the librarian may be asked, checked: `{ index, extensions? }` or `{ query, limit? }`, and the limits in params.

import { resolve } from 'node:path';
import { LIMITS, type Limits } from './documents.js';
import type { IndexRequest } from './indexing.js';

export interface QueryRequest {
  query: string;
  limit: number;
}

export type LibrarianRequest = { kind: 'index'; index: IndexRequest } | { kind: 'query'; query: QueryRequest };

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
const QUERY_MAX_CHARS = 1_000;
const MAX_EXTENSIONS = 32;

/**
 * Reads a run's input.
 * @param base what a relative folder is relative to
 * @throws Error that says what is wrong with it
 */
export function readRequest(input: unknown, base: string): LibrarianRequest {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new Error('The librarian takes { index: folder } or { query: text }');
  }
  const { index, extensions, query, limit, ...unknown } = input as Record<string, unknown>;
  const strangers = Object.keys(unknown);
  if (strangers.length > 0)
    throw new Error(`The librarian does not know the field ${strangers.slice(0, 5).join(', ')}`);
  if ((index === undefined) === (query === undefined)) {
    throw new Error('The librarian takes either { index: folder } or { query: text }');
  }
  if (query === undefined) {
    if (limit !== undefined) throw new Error('limit belongs to a query, not to an index run');
    return { kind: 'index', index: { folder: readFolder(index, base), extensions: readExtensions(extensions) } };
  }
  if (extensions !== undefined) throw new Error('extensions belongs to an index run, not to a query');
  return { kind: 'query', query: { query: readQuery(query), limit: readLimit(limit) } };
}

/**
 * The bounds of this session: those of the librarian, or lower ones from the session's params.
 * @throws Error if a param is not a whole number from 1
 */
export function readLimits(params: Readonly<Record<string, unknown>>): Limits {
  const lowered = (name: keyof Limits): number => {
    const value = params[name];
    if (value === undefined) return LIMITS[name];
    if (!Number.isInteger(value) || (value as number) < 1)
      throw new Error(`params.${name} must be a whole number from 1`);
    return Math.min(value as number, LIMITS[name]);
  };
  return { maxFileBytes: lowered('maxFileBytes'), maxFiles: lowered('maxFiles'), maxPassages: lowered('maxPassages') };
}

/** @throws Error unless it is undefined, null, or a list such as ['.md', 'txt'] */
export function readExtensions(extensions: unknown): string[] | null {
  if (extensions === undefined || extensions === null) return null;
  const wrong = `extensions must be a list of 1 to ${MAX_EXTENSIONS} file name endings such as ".md"`;
  if (!Array.isArray(extensions) || extensions.length < 1 || extensions.length > MAX_EXTENSIONS) throw new Error(wrong);
  return extensions.map((extension: unknown) => {
    if (typeof extension !== 'string' || !/^\.?[\w+-][\w+.-]{0,30}$/.test(extension)) throw new Error(wrong);
    return (extension.startsWith('.') ? extension : `.${extension}`).toLowerCase();
  });
}

function readFolder(folder: unknown, base: string): string {
  if (typeof folder !== 'string' || folder.trim() === '') throw new Error('index must be the path of a folder');
  if (folder.includes('\0')) throw new Error('index must be the path of a folder: it contains a zero byte');
  return resolve(base, folder);
}

function readQuery(query: unknown): string {
  if (typeof query !== 'string' || query.trim() === '') throw new Error('query must be a text that is not empty');
  if (query.length > QUERY_MAX_CHARS) throw new Error(`query must not be longer than ${QUERY_MAX_CHARS} characters`);
  return query;
}

function readLimit(limit: unknown): number {
  if (limit === undefined) return DEFAULT_LIMIT;
  if (!Number.isInteger(limit) || (limit as number) < 1 || (limit as number) > MAX_LIMIT) {
    throw new Error(`limit must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  return limit as number;
}
