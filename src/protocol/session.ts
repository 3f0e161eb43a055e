// The data of a session as it crosses threads and the disk: records, rows, live fields, sources, queries, runs.
// Types only, apart from the rules that every side must agree on: sources, profiles, empty figures, the public status.

import type { SessionState } from './session-state.js';

/** A plain object; what an agent appends to its history. Values must survive MessagePack (no functions, no cycles). */
export type JournalEntry = { role?: string; content?: unknown; [field: string]: unknown };

/** Where a session came from. Open set: a host may use names of its own; these are the known ones. */
export type SessionSource = 'manual' | 'cron' | 'channel' | 'setup' | (string & {});

/** The source of a record: missing is `manual`; `system` is an old name for `setup`. */
export function sourceOf(record: { source?: string | null | undefined }): SessionSource {
  const source = record.source;
  if (source === undefined || source === null || source === '') return 'manual';
  return source === 'system' ? 'setup' : source;
}

/** The profile of a record: missing is `general`. */
export function profileOf(record: { agentProfile?: string | null | undefined }): string {
  return record.agentProfile ? record.agentProfile : 'general';
}

/** What a caller may say when creating a session. */
export interface NewSession {
  /** Matches the id grammar of ids.ts; a new random one when absent. */
  sessionId?: string;
  name?: string | null;
  /** The profile of one of the host's agent definitions. Default 'general'. */
  agentProfile?: string | null;
  source?: SessionSource | null;
  workingDir?: string | null;
  /** Handed to the agent as ctx.params. A plain object. */
  params?: Record<string, unknown>;
  pinned?: boolean;
  /** ISO 8601 instants; default now. For importing sessions. */
  createdAt?: string;
  updatedAt?: string;
  stats?: Partial<SessionStats>;
}

/** Counters and reported figures of a session, kept with its record. */
export interface SessionStats {
  totalTasks: number;
  totalCostUsd: number;
  /** Milliseconds. */
  latestLatencyMs: number | null;
  costSource: string | null;
  model: string | null;
  modelId: string | null;
  reasoningEffort: string | null;
  permissionMode: string | null;
  cardModel: string | null;
  subModel: string | null;
  subModelOptions: readonly string[] | null;
  topUpUrl: string | null;
  /** The last run's error, if it failed; cleared when the next run starts. */
  error: string | null;
  errorCode: string | null;
}

/** The stats of a session that has done nothing. */
export function emptyStats(): SessionStats {
  return {
    totalTasks: 0,
    totalCostUsd: 0,
    latestLatencyMs: null,
    costSource: null,
    model: null,
    modelId: null,
    reasoningEffort: null,
    permissionMode: null,
    cardModel: null,
    subModel: null,
    subModelOptions: null,
    topUpUrl: null,
    error: null,
    errorCode: null,
  };
}

const NO_FIGURES: Readonly<SessionStats> = emptyStats();

/** The figures that a session has: most have few of them, and lists read many. parseStats() undoes it. */
export function nonDefaultStats(stats: SessionStats): Partial<SessionStats> {
  const figures: Record<string, unknown> = {};
  for (const name of Object.keys(NO_FIGURES) as (keyof SessionStats)[]) {
    if (stats[name] !== NO_FIGURES[name]) figures[name] = stats[name];
  }
  return figures;
}

/**
 * The figures of a session, from the JSON of those that it has. Text that is none costs the figures of that session alone.
 */
export function parseStats(json: string): SessionStats {
  if (json === '{}') return emptyStats();
  try {
    return { ...emptyStats(), ...(JSON.parse(json) as Partial<SessionStats>) };
  } catch {
    return { ...emptyStats(), error: 'the stored figures of this session are damaged', errorCode: 'STORE_CORRUPT' };
  }
}

/** A session as the store keeps it. */
export interface SessionRecord {
  sessionId: string;
  name: string | null;
  source: SessionSource | null;
  agentProfile: string | null;
  workingDir: string | null;
  params: Record<string, unknown>;
  pinned: boolean;
  createdAt: string;
  updatedAt: string;
  /** Why it takes no more runs, until an operator clears it; null: it does. */
  quarantine: string | null;
  stats: SessionStats;
}

/** What a user sees as a session's status. */
export type SessionStatus = 'idle' | 'running' | 'error';

/** The status shown for a state; `lastRunFailed` is what makes an otherwise idle session read `error`. */
export function statusOf(state: SessionState, lastRunFailed: boolean): SessionStatus {
  switch (state) {
    case 'running':
    case 'interrupting':
      return 'running';
    case 'failed':
      return 'error';
    case 'cold':
    case 'restoring':
    case 'idle':
    case 'flushing':
      return lastRunFailed ? 'error' : 'idle';
    default:
      return state satisfies never;
  }
}

/** One row of a session list, in TypeScript's spelling; server/json.ts gives the JSON one. */
export interface SessionRow {
  id: string;
  name: string | null;
  status: SessionStatus;
  error: string | null;
  errorCode: string | null;
  topUpUrl: string | null;
  model: string | null;
  modelId: string | null;
  source: SessionSource;
  agentProfile: string;
  workingDir: string | null;
  createdAt: string;
  updatedAt: string;
  totalTasks: number;
  /** US dollars. */
  totalCost: number;
  costSource: string | null;
  permissionMode: string | null;
  pinned: boolean;
  reasoningEffort: string | null;
  /** Milliseconds. */
  latestLatency: number | null;
  cardModel: string | null;
  subModel: string | null;
  subModelOptions: readonly string[] | null;
}

/** The filters of a session list; all optional and independent. */
export interface ListQuery {
  /** Rows beside the pinned ones: 1 to LIST_LIMIT_MAX_ROWS. Default LIST_LIMIT_DEFAULT_ROWS. */
  limit?: number;
  /** Only sessions created before this instant (ISO 8601), or after this `nextBefore` cursor of an earlier page. */
  before?: string;
  /** Plain text, matched within name or id without regard to case in Unicode's sense. */
  q?: string;
  /** A YYYY-MM-DD prefix of created_at. */
  date?: string;
  /** 'coding': that profile, whatever the source. Else: that source, with a profile other than coding. */
  type?: string;
  /** Default true. Pinned rows come first, all of them, on the first page only. */
  includePinned?: boolean;
}

/** A page of records, newest first, their params left out ({}). `nextBefore` continues it without losing sessions created in the same instant. */
export interface RecordPage {
  records: SessionRecord[];
  hasMore: boolean;
  nextBefore: string | null;
}

/** The states of a run. The last three are terminal: a run enters exactly one of them, once. */
export type RunState = 'queued' | 'running' | 'completed' | 'failed' | 'interrupted';

/** A run as users see it. */
export interface RunInfo {
  id: string;
  state: RunState;
  output: unknown;
  error: string | null;
  code: string | null;
  startedAt: string | null;
  endedAt: string | null;
}

export function isTerminal(state: RunState): boolean {
  return state === 'completed' || state === 'failed' || state === 'interrupted';
}

/** What main needs to know of an agent definition; the code itself stays in the threads. */
export interface AgentProfile {
  profile: string;
  load: 'cpu' | 'io';
  saveWhen: 'run' | 'flush';
  compacts: boolean;
  runTimeoutMs: number | null;
  retry: number;
  onInterrupted: 'report' | 'resume';
  /** File path of the module, for messages to the operator. */
  module: string;
}
