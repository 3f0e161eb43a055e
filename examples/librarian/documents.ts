// Finds the documents of a folder and reads them: which files count, in which order, and what is left out and why.

import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join, sep } from 'node:path';
import { cutIntoPassages, type DocumentStyle, type Passage } from './passages.js';

/** What bounds an index. A session's params may lower each of them, never raise it. */
export interface Limits {
  /** Larger files are skipped. */
  maxFileBytes: number;
  maxFiles: number;
  maxPassages: number;
}

/** 30,000 passages are some 200 MB of heap: a library, but not one that starves its neighbours in the thread. */
export const LIMITS: Readonly<Limits> = { maxFileBytes: 2 * 1024 * 1024, maxFiles: 10_000, maxPassages: 30_000 };

/** Directory entries looked at in one walk; what keeps `{ index: '/' }` from walking for ever. */
const MAX_ENTRIES = 500_000;

const DEFAULT_EXTENSIONS: readonly string[] = ['.md', '.markdown', '.txt', '.rst'];
const BARE_NAMES: ReadonlySet<string> = new Set(['readme', 'license', 'changelog']);

/** A file's identity for the incremental index: the same size and mtime mean the same content. */
export interface FileStamp {
  path: string;
  size: number;
  /** Milliseconds since 1970, with fraction. */
  mtimeMs: number;
}

/** Why a file whose name counts was left out. */
export type SkipReason = 'too large' | 'unreadable' | 'not text' | 'a symbolic link' | 'beyond the limits';

/** What a walk found. */
export interface Found {
  /** Ordered by path, name by name, so that the same folder always gives the same index. */
  files: FileStamp[];
  skipped: SkipReason[];
  /** Directories that could not be listed: nothing is known about what they hold. */
  unreadable: string[];
  /** The bound that ended the walk early, if one did. */
  endedBy: 'files' | 'entries' | null;
}

/**
 * Walks a folder without following symbolic links (the folder itself may be one: it was named by the caller).
 * Yields after each directory, so that its caller can stop or rest.
 * @param extensions lower case with their dot, or null for the default ones and the bare names
 * @throws Error if the folder does not exist or is not a folder
 */
export function* walkFolder(
  folder: string,
  extensions: readonly string[] | null,
  limits: Limits,
): Generator<undefined, Found> {
  assertFolder(folder);
  const found: Found = { files: [], skipped: [], unreadable: [], endedBy: null };
  // A stack of what is still to be visited, last first: recursion would be bounded by the depth of the tree.
  const pending: { path: string; folder: boolean }[] = [{ path: folder, folder: true }];
  let entries = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (!next.folder) {
      visitFile(next.path, found, limits);
      if (found.files.length <= limits.maxFiles) continue;
      found.files.pop();
      found.endedBy = 'files';
      break;
    }
    const listed = listFolder(next.path, extensions, found);
    entries += listed.entries;
    if (entries > MAX_ENTRIES) {
      found.endedBy = 'entries';
      break;
    }
    for (const entry of listed.worthVisiting.reverse()) pending.push(entry);
    yield undefined;
  }
  return found;
}

/** The folder that holds a path, given with or without its last separator. */
export function isInside(folder: string, path: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** Reads and cuts one document. Its stamp is the one it had when opened, before its content was read. */
export function readDocument(
  path: string,
  limits: Limits,
): { stamp: FileStamp; passages: Passage[] } | { skip: SkipReason } {
  let bytes: Buffer;
  let stamp: FileStamp;
  try {
    // Opened without following links and without waiting: since the walk the name may have become a link or a pipe.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) return { skip: 'unreadable' };
      if (stat.size > limits.maxFileBytes) return { skip: 'too large' };
      stamp = { path, size: stat.size, mtimeMs: stat.mtimeMs };
      bytes = readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    return { skip: 'unreadable' };
  }
  if (bytes.includes(0)) return { skip: 'not text' };
  const text = bytes.toString('utf8').replace(/^\uFEFF/, '');
  return { stamp, passages: cutIntoPassages(text, styleOf(path)) };
}

function assertFolder(folder: string): void {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat === undefined) throw new Error(`Cannot index ${folder}: there is no such folder`);
  if (!stat.isDirectory()) throw new Error(`Cannot index ${folder}: it is not a folder`);
}

function listFolder(
  path: string,
  extensions: readonly string[] | null,
  found: Found,
): { entries: number; worthVisiting: { path: string; folder: boolean }[] } {
  let entries;
  try {
    entries = readdirSync(path, { withFileTypes: true });
  } catch {
    found.unreadable.push(path);
    return { entries: 0, worthVisiting: [] };
  }
  // By code unit: the order of a locale would differ from machine to machine.
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const worthVisiting: { path: string; folder: boolean }[] = [];
  for (const entry of entries) {
    const counts = isDocumentName(entry.name, extensions);
    if (entry.isDirectory()) worthVisiting.push({ path: join(path, entry.name), folder: true });
    else if (counts && entry.isFile()) worthVisiting.push({ path: join(path, entry.name), folder: false });
    else if (counts && entry.isSymbolicLink()) found.skipped.push('a symbolic link');
  }
  return { entries: entries.length, worthVisiting };
}

function visitFile(path: string, found: Found, limits: Limits): void {
  let stat;
  try {
    stat = lstatSync(path);
  } catch {
    found.skipped.push('unreadable');
    return;
  }
  if (stat.size > limits.maxFileBytes) found.skipped.push('too large');
  else found.files.push({ path, size: stat.size, mtimeMs: stat.mtimeMs });
}

function isDocumentName(name: string, extensions: readonly string[] | null): boolean {
  const lower = name.toLowerCase();
  if (extensions === null && BARE_NAMES.has(lower)) return true;
  return (extensions ?? DEFAULT_EXTENSIONS).some((extension) => lower.endsWith(extension));
}

function styleOf(path: string): DocumentStyle {
  const extension = extname(path).toLowerCase();
  if (extension === '.md' || extension === '.markdown') return 'markdown';
  return extension === '.rst' ? 'rst' : 'plain';
}
