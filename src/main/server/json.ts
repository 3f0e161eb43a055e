// The JSON spelling of what the library returns: snake_case names, as existing clients of such a server know them.

import type { RunInfo, SessionRow } from '../../protocol/session.js';
import type { SessionEvent } from '../registry/events/event-stream.js';
import type { ThreadInfo } from '../registry/views/thread-info.js';

export function sessionJson(row: SessionRow): Record<string, unknown> {
  return {
    id: row.id,
    name: row.name,
    status: row.status,
    error: row.error,
    error_code: row.errorCode,
    top_up_url: row.topUpUrl,
    model: row.model,
    model_id: row.modelId,
    source: row.source,
    agent_profile: row.agentProfile,
    working_dir: row.workingDir,
    created_at: row.createdAt,
    updated_at: row.updatedAt,
    total_tasks: row.totalTasks,
    total_cost: row.totalCost,
    cost_source: row.costSource,
    permission_mode: row.permissionMode,
    pinned: row.pinned,
    reasoning_effort: row.reasoningEffort,
    latest_latency: row.latestLatency,
    card_model: row.cardModel,
    sub_model: row.subModel,
    sub_model_options: row.subModelOptions,
  };
}

export function runJson(run: RunInfo): Record<string, unknown> {
  const { id, state, output, error, code, startedAt, endedAt } = run;
  return { id, state, output: output ?? null, error, code, started_at: startedAt, ended_at: endedAt };
}

export function threadJson(thread: ThreadInfo): Record<string, unknown> {
  return {
    no: thread.no,
    state: thread.state,
    session_id: thread.sessionId,
    run_id: thread.runId,
    since: thread.since,
    sessions: thread.sessions,
    event_loop_utilization: thread.eventLoopUtilization,
    heap_used: thread.heapUsed,
    heap_limit: thread.heapLimit,
    runs: thread.runs,
    cpu_ms: thread.cpuMs,
    crashes: thread.crashes,
    interrupts: thread.interrupts,
    migrations: thread.migrations,
  };
}

/** The data of a server-sent event. */
export function eventJson(event: SessionEvent): Record<string, unknown> {
  switch (event.type) {
    case 'entry':
      return { ...event.entry, seq: event.seq, created_at: event.createdAt };
    case 'event':
      return { run_id: event.runId, data: event.data ?? null };
    case 'run':
      return { run: runJson(event.run) };
    case 'gap':
      return { missed: event.missed };
    default:
      return event satisfies never;
  }
}
