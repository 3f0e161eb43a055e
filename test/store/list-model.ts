// What a list is, told the slow way: every session in memory, filtered and sorted. The stores are compared with it.

import { fold } from '../../src/protocol/fold.js';
import { profileOf, sourceOf, type ListQuery, type SessionRecord } from '../../src/protocol/session.js';

export interface ModelPage {
  ids: string[];
  hasMore: boolean;
  nextBefore: string | null;
}

/** ISO instants and ids are ASCII: comparing code units is comparing bytes. */
function newestFirst(a: SessionRecord, b: SessionRecord): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? 1 : -1;
  return a.sessionId < b.sessionId ? 1 : -1;
}

function matches(record: SessionRecord, { type, date, q }: ListQuery): boolean {
  const coding = profileOf(record) === 'coding';
  if (type === 'coding' && !coding) return false;
  if (type !== undefined && type !== 'coding' && (coding || sourceOf(record) !== type)) return false;
  if (date !== undefined && !record.createdAt.startsWith(date)) return false;
  if (q === undefined) return true;
  return [record.name ?? '', record.sessionId].some((text) => fold(text).includes(fold(q)));
}

function isBefore(record: SessionRecord, before: string): boolean {
  const [instant, id] = before.split(',') as [string, string | undefined];
  if (record.createdAt !== instant) return record.createdAt < instant;
  return id !== undefined && record.sessionId < id;
}

export function modelPage(all: readonly SessionRecord[], query: ListQuery): ModelPage {
  const found = all.filter((record) => matches(record, query)).sort(newestFirst);
  const { before, limit = 500, includePinned = true } = query;
  const pinned = before === undefined && includePinned ? found.filter((record) => record.pinned) : [];
  const others = found.filter((r) => !r.pinned && (before === undefined || isBefore(r, before)));
  const page = others.slice(0, limit);
  const hasMore = others.length > limit;
  const last = page.at(-1);
  return {
    ids: [...pinned, ...page].map((record) => record.sessionId),
    hasMore,
    nextBefore: hasMore && last ? `${last.createdAt},${last.sessionId}` : null,
  };
}
