// What others see of a session in memory: a copy of its entry, and its live figures from the status table.

import type { SessionState } from '../../../protocol/session-state.js';
import { profileOf, type SessionStatus } from '../../../protocol/session.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import type { LiveFields, Session } from '../sessions/session.js';

/** A copy of a session's runtime entry. */
export interface SessionEntry {
  sessionId: string;
  state: SessionState;
  status: SessionStatus;
  /** Why it is failed; null otherwise. */
  reason: string | null;
  /** Number of the thread where its agent lives. */
  thread: number | null;
  epoch: number | null;
  agentProfile: string | null;
  /** Runs waiting in its mailbox. */
  queued: number;
  runId: string | null;
  /** Why it takes no more runs; null: it does. */
  quarantine: string | null;
  watchers: number;
  /** ISO 8601. */
  updatedAt: string;
  usedAt: string;
  /** What update() and the agent's report() have set. */
  fields: LiveFields;
}

/** The live figures of a session in memory, from the status table. */
export interface SessionSummary {
  sessionId: string;
  status: SessionStatus;
  state: SessionState;
  name: string | null;
  runId: string | null;
  queued: number;
  totalTasks: number;
  /** US dollars. */
  totalCost: number;
  /** Milliseconds. */
  latestLatency: number | null;
  /** 0..1 of the current run; null when unknown. */
  progress: number | null;
  progressLabel: string;
  /** CPU milliseconds since the activation. */
  cpuMs: number;
  /** Runs that took their thread down, runs that were asked to stop, moves to another thread; since it is in memory. */
  crashes: number;
  interrupts: number;
  migrations: number;
  /** Entries of the history, and how many of them are on disk. */
  historySeq: number;
  durableSeq: number;
  updatedAt: string;
}

export function entryOf(session: Session): SessionEntry {
  return {
    sessionId: session.id,
    state: session.state,
    status: session.status,
    reason: session.reason,
    thread: session.place?.thread.no ?? null,
    // 0 while it is being restored: it has none yet.
    epoch: session.place?.epoch || null,
    agentProfile: session.record ? profileOf(session.record) : session.profile,
    queued: session.queued,
    runId: session.runId,
    quarantine: session.quarantine,
    watchers: session.watchers,
    updatedAt: new Date(session.updatedAt).toISOString(),
    usedAt: new Date(session.usedAtUnixMs).toISOString(),
    fields: { ...session.live },
  };
}

/** @param slot the session's in the table: it is live */
export function summaryOf(session: Session, slot: number, table: StatusTable): SessionSummary {
  const stats = table.readStats(slot);
  const durableSeq = table.durable(slot).seq;
  return {
    sessionId: session.id,
    status: session.status,
    state: session.state,
    // Null: it was taken away. Undefined: it is as the activation found it.
    name: session.live.name !== undefined ? session.live.name : (session.record?.name ?? null),
    runId: session.runId,
    queued: session.queued,
    totalTasks: stats.totalTasks,
    totalCost: stats.totalCostUsd,
    latestLatency: stats.latestLatencyMs,
    progress: stats.progress,
    progressLabel: stats.label,
    cpuMs: stats.cpuMs,
    crashes: table.get(slot, 'crashes'),
    interrupts: table.get(slot, 'interrupts'),
    migrations: table.get(slot, 'migrations'),
    // The store may be ahead of what the thread knows: it numbers main's entries as well.
    historySeq: Math.max(table.get(slot, 'historySeq'), durableSeq),
    durableSeq,
    updatedAt: new Date(Math.max(stats.updatedAtMs, session.updatedAt)).toISOString(),
  };
}
