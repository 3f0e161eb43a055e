// A session list as a service without a database keeps it: one JSON file a session, all of them read at every call.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ListQuery, SessionRecord } from '../../src/protocol/session.js';

export class SessionFiles {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
  }

  write(record: SessionRecord): void {
    writeFileSync(join(this.#dir, `${record.sessionId}.json`), JSON.stringify(record));
  }

  /** Ids in the order of the list: the pinned ones, then a page of the others, newest first. */
  list({ limit = 50, q, date, type }: ListQuery): string[] {
    const needle = q?.toLowerCase();
    const found = readdirSync(this.#dir)
      .map((file) => JSON.parse(readFileSync(join(this.#dir, file), 'utf8')) as SessionRecord)
      .filter((record) => type === undefined || record.source === type)
      .filter((record) => date === undefined || record.createdAt.startsWith(date))
      .filter((record) => needle === undefined || `${record.name} ${record.sessionId}`.toLowerCase().includes(needle))
      .sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
    const pinned = found.filter((record) => record.pinned);
    const others = found.filter((record) => !record.pinned).slice(0, limit);
    return [...pinned, ...others].map((record) => record.sessionId);
  }
}
