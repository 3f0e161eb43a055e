// Brings the catalogue in step with a folder: what is new or changed is read, what is unchanged kept, what is gone removed.

import type { Catalogue } from './catalogue.js';
import { isInside, readDocument, walkFolder, type FileStamp, type Limits, type SkipReason } from './documents.js';

/** Which folder, and which of its files. */
export interface IndexRequest {
  /** Absolute path. */
  folder: string;
  /** Lower case with their dot; null for the default ones. */
  extensions: readonly string[] | null;
}

/** How far an indexing is. */
export interface IndexProgress {
  /** Files dealt with, including unchanged ones. */
  done: number;
  of: number;
  /** Passages of those files. */
  passages: number;
}

/** What an indexing came to. */
export interface IndexSummary {
  /** Files read in this run: new or changed ones. */
  indexed: number;
  /** Files of this folder found unchanged. */
  kept: number;
  /** Files that were in the index and no longer belong there. */
  removed: number;
  /** Files of this folder in the index now. */
  files: number;
  /** Passages of those files. */
  passages: number;
  /** Files whose name counts and that were left out; `notes` says why. */
  skipped: number;
  notes: string[];
}

/**
 * Afterwards the catalogue holds, of this folder, just what the request selects and the limits allow; other folders'
 * files are left alone. A generator, so that its caller decides at each step whether to go on: leaving it at any step
 * leaves a consistent catalogue, and a later call continues from there. Yields undefined where there is no progress to
 * tell.
 * @throws Error if the folder does not exist; the catalogue is then unchanged
 */
export function* indexFolder(
  catalogue: Catalogue,
  request: IndexRequest,
  limits: Limits,
): Generator<IndexProgress | undefined, IndexSummary> {
  const { folder, extensions } = request;
  const found = yield* walkFolder(folder, extensions, limits);
  const skipped: SkipReason[] = [...found.skipped];
  const removed = yield* removeVanished(catalogue, folder, found.files, found.unreadable);
  const summary: IndexSummary = { indexed: 0, kept: 0, removed, files: 0, passages: 0, skipped: 0, notes: [] };
  for (const [i, stamp] of found.files.entries()) {
    if (catalogue.isCurrent(stamp)) {
      summary.kept++;
    } else {
      // The old passages go first: they are wrong, and the new ones may need their room.
      yield* catalogue.remove(stamp.path);
      const skip = yield* indexFile(catalogue, stamp, limits);
      if (skip === null) summary.indexed++;
      else skipped.push(skip);
    }
    const file = catalogue.file(stamp.path);
    if (file !== undefined) {
      summary.files++;
      summary.passages += file.passages;
    }
    yield { done: i + 1, of: found.files.length, passages: summary.passages };
  }
  summary.skipped = skipped.length;
  summary.notes = notesOn(skipped, found.unreadable, found.endedBy, limits);
  return summary;
}

function* removeVanished(
  catalogue: Catalogue,
  folder: string,
  files: readonly FileStamp[],
  unreadable: readonly string[],
): Generator<undefined, number> {
  const present = new Set(files.map((file) => file.path));
  let removed = 0;
  for (const path of catalogue.paths()) {
    if (!isInside(folder, path) || present.has(path)) continue;
    // Nobody could look there: a folder that cannot be listed for a moment must not empty the index.
    if (unreadable.some((closed) => isInside(closed, path))) continue;
    yield* catalogue.remove(path);
    removed++;
    yield undefined;
  }
  return removed;
}

/** Reads one file into the catalogue; gives the reason if it is left out. */
function* indexFile(catalogue: Catalogue, file: FileStamp, limits: Limits): Generator<undefined, SkipReason | null> {
  // Without any room the file is not even read; with some, a smaller file than the one that did not fit may still fit.
  if (catalogue.files >= limits.maxFiles || catalogue.passages >= limits.maxPassages) return 'beyond the limits';
  const document = readDocument(file.path, limits);
  if ('skip' in document) return document.skip;
  if (catalogue.passages + document.passages.length > limits.maxPassages) return 'beyond the limits';
  yield* catalogue.put(document.stamp, document.passages);
  return null;
}

function notesOn(
  skipped: readonly SkipReason[],
  unreadable: readonly string[],
  endedBy: 'files' | 'entries' | null,
  limits: Limits,
): string[] {
  const counts = new Map<SkipReason, number>();
  for (const reason of skipped) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const notes = [...counts].map(([reason, count]) => {
    const bound = reason === 'too large' ? ` (over ${limits.maxFileBytes} bytes)` : '';
    return `${count} ${count === 1 ? 'file' : 'files'} skipped: ${reason}${bound}`;
  });
  if (unreadable.length > 0)
    notes.push(`${unreadable.length} folders could not be listed; what was known of them is kept`);
  if (endedBy === 'files') notes.push(`stopped after ${limits.maxFiles} files: that is the limit`);
  if (endedBy === 'entries') notes.push('stopped looking through the folder: it has too many entries');
  return notes;
}
