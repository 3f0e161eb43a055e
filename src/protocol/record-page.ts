// A page of records on its way from the store to main: what lists show, as rows of columns, and of the figures only
// those that a session has. A page as plain objects takes three times as long to encode and decode.

import { Packr } from 'msgpackr';
import { emptyStats, figuresOf, type RecordPage, type SessionRecord, type SessionStats } from './session.js';

type Row = [
  sessionId: string,
  name: string | null,
  source: string | null,
  agentProfile: string | null,
  workingDir: string | null,
  pinned: boolean,
  createdAt: string,
  updatedAt: string,
  quarantine: string | null,
  figures: Partial<SessionStats>,
];

const packr = new Packr();

export function encodePage({ records, hasMore, nextBefore }: RecordPage): Uint8Array<ArrayBuffer> {
  // A copy: what pack() returns is part of a pool.
  return new Uint8Array(packr.pack([records.map(toRow), hasMore, nextBefore]));
}

export function decodePage(bytes: Uint8Array): RecordPage {
  const [rows, hasMore, nextBefore] = packr.unpack(bytes) as [Row[], boolean, string | null];
  return { records: rows.map(toRecord), hasMore, nextBefore };
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

function toRecord(row: Row): SessionRecord {
  const [sessionId, name, source, agentProfile, workingDir, pinned, createdAt, updatedAt, quarantine, figures] = row;
  return {
    sessionId,
    name,
    source,
    agentProfile,
    workingDir,
    params: {},
    pinned,
    createdAt,
    updatedAt,
    quarantine,
    stats: { ...emptyStats(), ...figures },
  };
}
