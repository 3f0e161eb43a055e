// The session list: the only place where one is assembled. Rows come from the store, enriched with what is live.

import type { Remote } from '../../../protocol/calls.js';
import type { StoreCalls } from '../../../protocol/control.js';
import { CabanaError, assertFields } from '../../../protocol/errors.js';
import { isId } from '../../../protocol/ids.js';
import { LABEL_MAX_CHARS, LIST_LIMIT_MAX_ROWS, QUERY_MAX_CHARS } from '../../../protocol/limits.js';
import {
  profileOf,
  sourceOf,
  statusOf,
  type ListQuery,
  type SessionRecord,
  type SessionRow,
} from '../../../protocol/session.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import type { Directory } from '../sessions/directory.js';
import type { Session } from '../sessions/session.js';
import { KeptPages } from './kept-pages.js';

/** A page of a session list. */
export interface SessionPage {
  rows: SessionRow[];
  hasMore: boolean;
  /** What `before` continues this page with, without losing sessions created in the same instant; null: no more. */
  nextBefore: string | null;
}

export class Listing {
  readonly #store: Remote<StoreCalls>;
  readonly #pages: KeptPages;
  readonly #directory: Directory;
  readonly #table: StatusTable;

  constructor(store: Remote<StoreCalls>, directory: Directory, table: StatusTable) {
    this.#store = store;
    this.#pages = new KeptPages(store, table);
    this.#directory = directory;
    this.#table = table;
  }

  /** @throws CabanaError INVALID_ARGUMENT */
  async page(query: ListQuery): Promise<SessionPage> {
    const { records, hasMore, nextBefore } = await this.#pages.page(checkQuery(query));
    return { rows: records.map((record) => this.#row(record)), hasMore, nextBefore };
  }

  async row(id: string): Promise<SessionRow | undefined> {
    const record = await this.#store.record(id);
    return record ? this.#row(record) : undefined;
  }

  #row(record: SessionRecord): SessionRow {
    const session = this.#directory.get(record.sessionId);
    const stored = storedRow(record);
    return session && session.state !== 'cold' ? this.#enrich(stored, session) : stored;
  }

  /** Live counters win over stored ones, and a live, non-empty name over the stored one. */
  #enrich(row: SessionRow, session: Session): SessionRow {
    const { live } = session;
    const enriched: SessionRow = {
      ...row,
      status: session.status,
      name: live.name ? live.name : row.name,
      error: live.error !== undefined ? live.error : row.error,
      errorCode: live.errorCode !== undefined ? live.errorCode : row.errorCode,
      topUpUrl: live.topUpUrl ?? row.topUpUrl,
      model: live.model ?? row.model,
      modelId: live.modelId ?? row.modelId,
      costSource: live.costSource ?? row.costSource,
      permissionMode: live.permissionMode ?? row.permissionMode,
      reasoningEffort: live.reasoningEffort ?? row.reasoningEffort,
      cardModel: live.cardModel ?? row.cardModel,
      subModel: live.subModel ?? row.subModel,
      subModelOptions: live.subModelOptions ?? row.subModelOptions,
    };
    if (session.state === 'failed') {
      enriched.error ??= session.reason;
    }
    if (!session.isLive) return enriched;
    const stats = this.#table.readStats(session.place!.slot);
    enriched.totalTasks = Math.max(stats.totalTasks, row.totalTasks);
    enriched.totalCost = Math.max(stats.totalCostUsd, row.totalCost);
    enriched.latestLatency = stats.latestLatencyMs ?? row.latestLatency;
    const updatedAt = new Date(Math.max(session.updatedAt, Date.parse(row.updatedAt))).toISOString();
    return { ...enriched, updatedAt };
  }
}

/** A row as the store alone would give it. */
function storedRow(record: SessionRecord): SessionRow {
  const stats = record.quarantine === null ? record.stats : quarantinedStats(record);
  return {
    id: record.sessionId,
    name: record.name,
    status: statusOf('cold', stats.errorCode !== null),
    error: stats.error,
    errorCode: stats.errorCode,
    topUpUrl: stats.topUpUrl,
    model: stats.model,
    modelId: stats.modelId,
    source: sourceOf(record),
    agentProfile: profileOf(record),
    workingDir: record.workingDir,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
    totalTasks: stats.totalTasks,
    totalCost: stats.totalCostUsd,
    costSource: stats.costSource,
    permissionMode: stats.permissionMode,
    pinned: record.pinned,
    reasoningEffort: stats.reasoningEffort,
    latestLatency: stats.latestLatencyMs,
    cardModel: stats.cardModel,
    subModel: stats.subModel,
    subModelOptions: stats.subModelOptions,
  };
}

function quarantinedStats({ stats, quarantine }: SessionRecord): SessionRecord['stats'] {
  return { ...stats, error: quarantine, errorCode: 'SESSION_QUARANTINED' };
}

const LIST_FIELDS: readonly (keyof ListQuery)[] = ['limit', 'before', 'q', 'date', 'type', 'includePinned'];

/** @throws CabanaError INVALID_ARGUMENT, naming the field */
function checkQuery(query: ListQuery): ListQuery {
  assertFields(query, 'query', LIST_FIELDS);
  const { limit, before, q, date, type, includePinned } = query;
  const refuse = (what: string): never => {
    throw new CabanaError('INVALID_ARGUMENT', what);
  };
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1 && limit <= LIST_LIMIT_MAX_ROWS)) {
    refuse(`limit is a whole number from 1 to ${LIST_LIMIT_MAX_ROWS}`);
  }
  if (q !== undefined && (typeof q !== 'string' || q.length > QUERY_MAX_CHARS)) {
    refuse(`q is text of at most ${QUERY_MAX_CHARS} characters`);
  }
  if (date !== undefined && !(typeof date === 'string' && /^\d{4}(-\d{2}(-\d{2})?)?$/.test(date))) {
    refuse('date is text: YYYY-MM-DD, or a prefix of it');
  }
  if (type !== undefined && (typeof type !== 'string' || type === '' || type.length > LABEL_MAX_CHARS)) {
    refuse(`type is a source, or coding`);
  }
  if (includePinned !== undefined && typeof includePinned !== 'boolean') refuse('includePinned is true or false');
  if (before === undefined) return query;
  if (typeof before !== 'string') refuse('before is text');
  return { ...query, before: normalizeBefore(before) };
}

/** Those that sort as text. */
export const FIRST_INSTANT = Date.parse('0000-01-01T00:00:00.000Z');
export const LAST_INSTANT = Date.parse('9999-12-31T23:59:59.999Z');

const INSTANT = /^[+-]?\d{4,6}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(?<zone>Z|[+-]\d\d:\d\d)?)?$/;

/** Unix milliseconds of an ISO 8601 instant; NaN: it is none. */
export function instantOf(text: string): number {
  const match = INSTANT.exec(text);
  if (!match) return NaN;
  // Without a zone it would be this computer's.
  const isLocal = text.includes('T') && match.groups?.['zone'] === undefined;
  const day = text.slice(0, text.indexOf('T') < 0 ? undefined : text.indexOf('T'));
  const at = Date.parse(day);
  // Of a day that the month does not have it would be the next month's.
  if (Number.isNaN(at) || new Date(at).getUTCDate() !== Number(day.slice(-2))) return NaN;
  return Date.parse(isLocal ? `${text}Z` : text);
}

/** An instant in the store's spelling, or the cursor of a page. */
function normalizeBefore(before: string): string {
  const comma = before.indexOf(',');
  const instant = instantOf(comma < 0 ? before : before.slice(0, comma));
  const id = comma < 0 ? null : before.slice(comma + 1);
  if (Number.isNaN(instant) || (id !== null && !isId(id))) {
    throw new CabanaError('INVALID_ARGUMENT', 'before is an ISO 8601 instant, or the next_before of a page');
  }
  // Years of more than four digits would sort as text before all others.
  const iso = new Date(Math.min(Math.max(instant, FIRST_INSTANT), LAST_INSTANT)).toISOString();
  return id === null ? iso : `${iso},${id}`;
}
