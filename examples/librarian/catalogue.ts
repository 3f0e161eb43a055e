// The index: a MiniSearch instance and the table of files it was made from; adding, removing, searching, saving.

import MiniSearch, { type Options } from 'minisearch';
import type { FileStamp } from './documents.js';
import type { Passage } from './passages.js';

/** A passage that answers a query. */
export interface Hit {
  /** Absolute path. */
  file: string;
  /** Which passage of the file, from 1. */
  passage: number;
  /** Line of the file on which the passage starts, from 1. */
  line: number;
  heading: string;
  /** Larger is better; comparable within one answer only. */
  score: number;
  /** The part of the passage around the first match. */
  text: string;
}

/** A file of the catalogue. */
export interface CataloguedFile {
  size: number;
  mtimeMs: number;
  /** How many of its passages are in the index. */
  passages: number;
  /** False while its passages are being added or removed; an interruption leaves it so, and the next run redoes it. */
  complete: boolean;
}

/** What a snapshot holds: plain values only. */
export interface SavedCatalogue {
  format: 1;
  /** MiniSearch's own JSON. A string, because its many small objects would cost more in any other encoding. */
  index: string;
  /** path, number, size, mtimeMs, passages, 1 if complete */
  files: [string, number, number, number, number, 0 | 1][];
  nextNumber: number;
}

interface NumberedFile extends CataloguedFile {
  readonly number: number;
}

interface StoredPassage {
  id: string;
  line: number;
  heading: string;
  text: string;
}

/** Passages added or removed between two steps, some 10 ms of work. */
const PASSAGES_PER_STEP = 50;
const EXCERPT_MAX_CHARS = 280;
/** Longer terms are encoded data, not words. */
const TERM_MAX_CHARS = 40;

const OPTIONS: Options<StoredPassage> = {
  fields: ['heading', 'text'],
  // The whole text is stored, not only for the excerpts: taking a passage out of the index needs what was put in.
  storeFields: ['line', 'heading', 'text'],
  processTerm: (term) => (term.length > TERM_MAX_CHARS ? null : term.toLowerCase()),
  searchOptions: {
    boost: { heading: 2 },
    prefix: (term) => term.length > 3,
    fuzzy: (term) => (term.length > 5 ? 0.2 : false),
  },
};

/** The passages of any number of files. Consistent after every step of put() and remove(), finished or not. */
export class Catalogue {
  readonly #index: MiniSearch<StoredPassage>;
  readonly #files = new Map<string, NumberedFile>();
  readonly #pathOf = new Map<number, string>();
  /** Numbers are never used twice: a replaced file's passages cannot be taken for those of its successor. */
  #nextNumber = 1;

  private constructor(index: MiniSearch<StoredPassage>) {
    this.#index = index;
  }

  static empty(): Catalogue {
    return new Catalogue(new MiniSearch(OPTIONS));
  }

  /** @throws Error if `saved` is not what save() gave */
  static load(saved: unknown): Catalogue {
    if (!isSavedCatalogue(saved)) throw new Error('The saved state is not a catalogue of this librarian');
    const catalogue = new Catalogue(MiniSearch.loadJSON(saved.index, OPTIONS));
    for (const [path, number, size, mtimeMs, passages, complete] of saved.files) {
      catalogue.#files.set(path, { number, size, mtimeMs, passages, complete: complete === 1 });
      catalogue.#pathOf.set(number, path);
    }
    catalogue.#nextNumber = saved.nextNumber;
    return catalogue;
  }

  save(): SavedCatalogue {
    const files = [...this.#files].map(([path, file]): SavedCatalogue['files'][number] => {
      return [path, file.number, file.size, file.mtimeMs, file.passages, file.complete ? 1 : 0];
    });
    return { format: 1, index: JSON.stringify(this.#index), files, nextNumber: this.#nextNumber };
  }

  get files(): number {
    return this.#files.size;
  }

  get passages(): number {
    return this.#index.documentCount;
  }

  paths(): string[] {
    return [...this.#files.keys()];
  }

  file(path: string): Readonly<CataloguedFile> | undefined {
    return this.#files.get(path);
  }

  /** Whether the file is here as it is on disk. */
  isCurrent(stamp: FileStamp): boolean {
    const file = this.#files.get(stamp.path);
    return file !== undefined && file.complete && file.size === stamp.size && file.mtimeMs === stamp.mtimeMs;
  }

  /** Adds a file that is not in the catalogue. Yields now and then. */
  *put(stamp: FileStamp, passages: readonly Passage[]): Generator<undefined, void> {
    const number = this.#nextNumber++;
    const file: NumberedFile = { number, size: stamp.size, mtimeMs: stamp.mtimeMs, passages: 0, complete: false };
    this.#files.set(stamp.path, file);
    this.#pathOf.set(number, stamp.path);
    for (const { line, heading, text } of passages) {
      this.#index.add({ id: passageId(number, file.passages + 1), line, heading, text });
      file.passages++;
      if (file.passages % PASSAGES_PER_STEP === 0) yield undefined;
    }
    file.complete = true;
  }

  /** Takes a file out, if it is in. Yields now and then. */
  *remove(path: string): Generator<undefined, void> {
    const file = this.#files.get(path);
    if (file === undefined) return;
    file.complete = false;
    while (file.passages > 0) {
      const id = passageId(file.number, file.passages);
      // remove() and not discard(): it leaves nothing behind that would need a vacuum, and so nothing in a snapshot.
      this.#index.remove({ id, ...this.#stored(id) });
      file.passages--;
      if (file.passages % PASSAGES_PER_STEP === 0) yield undefined;
    }
    this.#files.delete(path);
    this.#pathOf.delete(file.number);
  }

  /** The best `limit` passages, and how many match at all. */
  search(query: string, limit: number): { hits: Hit[]; total: number } {
    const found = this.#index.search(query).map((result) => {
      const { file, passage } = this.#locate(String(result.id));
      // Rounded, with ties broken by place: the last bits of a sum and the order of equals depend on the order in which
      // the index's tree was built, which is another one after loading.
      return { file, passage, score: Number(result.score.toFixed(4)), terms: result.terms, id: String(result.id) };
    });
    found.sort((a, b) => b.score - a.score || (a.file < b.file ? -1 : a.file > b.file ? 1 : a.passage - b.passage));
    const hits = found.slice(0, limit).map(({ file, passage, score, terms, id }): Hit => {
      const { line, heading, text } = this.#stored(id);
      return { file, passage, line, heading, score, text: excerpt(text, terms) };
    });
    return { hits, total: found.length };
  }

  #stored(id: string): Omit<StoredPassage, 'id'> {
    const stored = this.#index.getStoredFields(id);
    if (stored === undefined) throw new Error(`Bug: the catalogue has no passage ${id}`);
    return stored as Omit<StoredPassage, 'id'>;
  }

  #locate(id: string): { file: string; passage: number } {
    const [number, passage] = id.split(':').map(Number);
    const file = this.#pathOf.get(number ?? 0);
    if (file === undefined) throw new Error(`Bug: the catalogue has no file for passage ${id}`);
    return { file, passage: passage ?? 0 };
  }
}

/** Short, because a snapshot holds one for every passage. */
function passageId(fileNumber: number, passage: number): string {
  return `${fileNumber}:${passage}`;
}

/** At most EXCERPT_MAX_CHARS of a passage, on one line, around the first of the terms. */
function excerpt(passage: string, terms: readonly string[]): string {
  const text = passage.replace(/\s+/g, ' ');
  if (text.length <= EXCERPT_MAX_CHARS) return text;
  const lower = text.toLowerCase();
  const places = terms.map((term) => lower.indexOf(term)).filter((place) => place >= 0);
  const first = places.length === 0 ? 0 : Math.min(...places);
  // A quarter of the excerpt before the match, the rest after it; two characters are kept for the ellipses.
  const room = EXCERPT_MAX_CHARS - 2;
  let start = Math.max(0, Math.min(first - Math.floor(room / 4), text.length - room));
  let end = Math.min(text.length, start + room);
  if (start > 0) start = Math.min(afterSpace(text, start), first);
  if (end < text.length) {
    const space = text.lastIndexOf(' ', end);
    if (space > first) end = space;
  }
  return (start > 0 ? '…' : '') + whole(text.slice(start, end)) + (end < text.length ? '…' : '');
}

/** A slice without the halves of surrogate pairs that were cut at its ends. */
function whole(slice: string): string {
  return slice.replace(/^[\udc00-\udfff]|[\ud800-\udbff]$/g, '');
}

function afterSpace(text: string, from: number): number {
  const space = text.indexOf(' ', from);
  return space < 0 ? from : space + 1;
}

function isSavedCatalogue(saved: unknown): saved is SavedCatalogue {
  if (typeof saved !== 'object' || saved === null) return false;
  const { format, index, files, nextNumber } = saved as Partial<Record<keyof SavedCatalogue, unknown>>;
  return format === 1 && typeof index === 'string' && Array.isArray(files) && typeof nextNumber === 'number';
}
