// The librarian: an agent that indexes folders of documents and answers queries with ranked passages.

import { defineAgent, type AgentContext, type StoredEntry } from 'cabana/agent';
import { Catalogue, type Hit } from './catalogue.js';
import { indexFolder, type IndexRequest, type IndexSummary } from './indexing.js';
import { readExtensions, readLimits, readRequest, type QueryRequest } from './request.js';

export type { Hit } from './catalogue.js';

/** An event of an index run. */
export interface IndexEvent {
  /** Files dealt with so far, including unchanged ones. */
  indexed: number;
  of: number;
  passages: number;
}

/** The outcome of `{ index: folder }`. */
export interface IndexResult extends IndexSummary {
  /** Absolute path. */
  folder: string;
  /** Milliseconds the run took. */
  ms: number;
}

/** The outcome of `{ query: text }`. */
export interface QueryResult {
  query: string;
  hits: Hit[];
  /** All matching passages, of which `hits` are the best. */
  total: number;
}

type Context = AgentContext<Catalogue>;

const EVENT_EVERY_FILES = 25;

export default defineAgent<Catalogue, unknown, IndexResult | QueryResult>({
  profile: 'librarian',
  load: 'cpu',
  // Megabytes: writing them with every run would cost more than the run.
  saveWhen: 'flush',
  start: () => Catalogue.empty(),
  save: (ctx) => ctx.state.save(),
  restore,
  async *run(ctx, input) {
    const request = readRequest(input, ctx.workingDir ?? process.cwd());
    switch (request.kind) {
      case 'index':
        return yield* index(ctx, request.index);
      case 'query':
        return await answer(ctx, request.query);
      default:
        return request satisfies never;
    }
  },
});

async function* index(ctx: Context, request: IndexRequest): AsyncGenerator<IndexEvent, IndexResult> {
  const started = performance.now();
  const steps = indexFolder(ctx.state, request, readLimits(ctx.params));
  ctx.checkpoint();
  ctx.progress(0, 'looking for documents');
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) {
    // Every step leaves the catalogue consistent, so the run may end at any of them.
    ctx.checkpoint();
    const progress = step.value;
    if (progress !== undefined) {
      ctx.progress(progress.done / progress.of, 'indexing');
      if (progress.done % EVENT_EVERY_FILES === 0 || progress.done === progress.of) {
        yield { indexed: progress.done, of: progress.of, passages: progress.passages };
      }
    }
    await ctx.yield();
  }
  const result = { ...step.value, folder: request.folder, ms: Math.round(performance.now() - started) };
  // `index` is for restore(): an index run that a later snapshot does not hold is done again from it.
  await ctx.history.append({ role: 'assistant', content: describe(result), index: { ...request } });
  return result;
}

async function answer(ctx: Context, { query, limit }: QueryRequest): Promise<QueryResult> {
  ctx.checkpoint();
  const { hits, total } = ctx.state.search(query, limit);
  const best = hits[0];
  const place = best === undefined ? '' : `, best: ${best.file}:${best.line}`;
  await ctx.history.append({ role: 'assistant', content: `${total} passages match "${query}"${place}` });
  return { query, hits, total };
}

/**
 * Loads the snapshot and indexes again what the history says was indexed after it. The folders are read as they are
 * now: the files are the truth, the index only follows them.
 */
async function restore(ctx: Context, saved: unknown, tail: StoredEntry[]): Promise<Catalogue> {
  const catalogue = saved === undefined ? Catalogue.empty() : Catalogue.load(saved);
  const limits = readLimits(ctx.params);
  for (const [folder, extensions] of indexedIn(tail)) {
    try {
      const request = { folder, extensions: readExtensions(extensions) };
      // No checkpoint here: there is no run to stop yet, and half a replay would belie the history.
      for (const _ of indexFolder(catalogue, request, limits)) await ctx.yield();
    } catch (error) {
      // A folder that is gone by now must not keep the agent from coming back with all the others.
      ctx.log.warn('could not index a folder again', { folder, error: String(error) });
    }
  }
  return catalogue;
}

/** The folders that entries tell of, each once with its latest extensions, in the order of those. */
function indexedIn(entries: readonly StoredEntry[]): Map<string, unknown> {
  const latest = new Map<string, unknown>();
  for (const { role, index } of entries) {
    // A user's entry is a wish; only the librarian's own entry says that it was fulfilled.
    if (role !== 'assistant' || typeof index !== 'object' || index === null) continue;
    const { folder, extensions } = index as Record<string, unknown>;
    if (typeof folder !== 'string') continue;
    latest.delete(folder);
    latest.set(folder, extensions);
  }
  return latest;
}

function describe({ folder, files, passages, indexed, removed, skipped, ms }: IndexResult): string {
  const changes = `${indexed} read, ${removed} removed, ${skipped} skipped`;
  return `Indexed ${folder}: ${files} files with ${passages} passages (${changes}) in ${ms} ms`;
}
