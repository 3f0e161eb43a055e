// A page of records on its way from the store to main. SQLite writes the rows as JSON itself: reading them column by
// column and encoding them again would keep the store's thread busy four times as long.

import { parseStats, type RecordPage, type SessionRecord } from './session.js';

/** What lists show of a session, as columns. Not its params, which may be large. */
export type ListedRow = readonly [
  sessionId: string,
  name: string | null,
  source: string | null,
  agentProfile: string | null,
  workingDir: string | null,
  pinned: 0 | 1,
  createdAt: string,
  updatedAt: string,
  quarantine: string | null,
  /** The JSON of the figures that the session has. */
  figures: string,
];

export interface ListedPage {
  /** JSON of ListedRow[]: the pinned ones, if they were asked for. */
  pinned: string;
  /** The same of the others: one more than `limit` if there are more. */
  others: string;
  limit: number;
}

export function recordPage({ pinned, others, limit }: ListedPage): RecordPage {
  const rows = JSON.parse(others) as ListedRow[];
  const hasMore = rows.length > limit;
  if (hasMore) rows.pop();
  const last = rows.at(-1);
  return {
    records: [...(JSON.parse(pinned) as ListedRow[]), ...rows].map(toRecord),
    hasMore,
    nextBefore: hasMore && last ? `${last[6]},${last[0]}` : null,
  };
}

function toRecord(row: ListedRow): SessionRecord {
  const [sessionId, name, source, agentProfile, workingDir, pinned, createdAt, updatedAt, quarantine, figures] = row;
  return {
    sessionId,
    name,
    source,
    agentProfile,
    workingDir,
    params: {},
    pinned: pinned === 1,
    createdAt,
    updatedAt,
    quarantine,
    stats: parseStats(figures),
  };
}
