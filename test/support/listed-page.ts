// A page of the list as the store would write it out.

import type { ListedPage, ListedRow } from '../../src/protocol/record-page.js';
import { nonDefaultStats, type SessionRecord } from '../../src/protocol/session.js';

/** None of it is listed as pinned, whatever the records say, and there are no more. */
export function listedPage(records: readonly SessionRecord[]): ListedPage {
  const rows = records.map((r): ListedRow => {
    const { sessionId, name, source, agentProfile, workingDir, pinned, createdAt, updatedAt, quarantine } = r;
    const figures = JSON.stringify(nonDefaultStats(r.stats));
    const columns = [sessionId, name, source, agentProfile, workingDir, pinned ? 1 : 0] as const;
    return [...columns, createdAt, updatedAt, quarantine, figures];
  });
  return { pinned: '[]', others: JSON.stringify(rows), limit: rows.length };
}
