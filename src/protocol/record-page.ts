// A page of records on its way from the store to main: what lists show, as rows of columns, and of the figures only
// those that a session has. A page as plain objects takes three times as long to encode and decode.

import { Packr } from 'msgpackr';
import { emptyStats, figuresOf, type RecordPage, type SessionRecord, type SessionStats } from './session.js';

/** What lists show of a session, as columns. Not its params, which may be large; its figures come apart. */
export type ListedColumns = [
  sessionId: string,
  name: string | null,
  source: string | null,
  agentProfile: string | null,
  workingDir: string | null,
  /** SQLite has 0 and 1 for it. */
  pinned: boolean | number,
  createdAt: string,
  updatedAt: string,
  quarantine: string | null,
];
type Row = [...ListedColumns, figures: Partial<SessionStats>];

const packr = new Packr();

export function encodePage({ records, hasMore, nextBefore }: RecordPage): Uint8Array<ArrayBuffer> {
  // A copy: what pack() returns is part of a pool.
  return new Uint8Array(packr.pack([records.map(toRow), hasMore, nextBefore]));
}

export function decodePage(bytes: Uint8Array): RecordPage {
  const [rows, hasMore, nextBefore] = packr.unpack(bytes) as [Row[], boolean, string | null];
  return { records: rows.map((row) => listedRecord(row, { ...emptyStats(), ...row[9] })), hasMore, nextBefore };
}

function toRow(record: SessionRecord): Row {
  return [
    record.sessionId,
    record.name,
    record.source,
    record.agentProfile,
    record.workingDir,
    record.pinned,
    record.createdAt,
    record.updatedAt,
    record.quarantine,
    figuresOf(record.stats),
  ];
}

/** The record of a list, from the columns that a row begins with. */
export function listedRecord(row: readonly [...ListedColumns, ...unknown[]], stats: SessionStats): SessionRecord {
  const [sessionId, name, source, agentProfile, workingDir, pinned, createdAt, updatedAt, quarantine] = row;
  return {
    sessionId,
    name,
    source,
    agentProfile,
    workingDir,
    params: {},
    pinned: Boolean(pinned),
    createdAt,
    updatedAt,
    quarantine,
    stats,
  };
}
