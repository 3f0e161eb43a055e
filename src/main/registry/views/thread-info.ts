// What a thread is and does, as the status table shows it.

import type { StatusTable } from '../../../protocol/status-table.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import type { Directory } from '../sessions/directory.js';
import type { Session } from '../sessions/session.js';

export interface ThreadInfo {
  /** Stand-ins have the numbers from the configured threads on. */
  no: number;
  /**
   * starting: loading its agents; idle; busy: a cpu run has it; retiring: a stand-in that ends when nothing lives there any
   * more; gone: dead or given up, and being replaced.
   */
  state: 'starting' | 'idle' | 'busy' | 'retiring' | 'gone';
  /**
   * The session and run that hold the thread now, and since when (ISO 8601): a cpu run, or whatever code the thread has
   * called and which has not given the event loop a turn since.
   */
  sessionId: string | null;
  runId: string | null;
  since: string | null;
  /** Agents that live there. */
  sessions: number;
  /** Event-loop utilization 0..1, between the last two heartbeats. */
  eventLoopUtilization: number;
  /** Bytes, at the last heartbeat. */
  heapUsed: number;
  heapLimit: number;
  /** Runs that ended there since its start. */
  runs: number;
  /** CPU milliseconds since its start. */
  cpuMs: number;
  /**
   * Of all threads that have had this number since the host was started: how many died or were given up, how many runs
   * were asked to stop there, and how many sessions moved from there to another thread.
   */
  crashes: number;
  interrupts: number;
  migrations: number;
}

export function threadInfo(thread: AgentThread, table: StatusTable, directory: Directory): ThreadInfo {
  const { no } = thread;
  const slot = table.getThread(no, 'slot');
  const holder = sessionAt(directory, thread, slot >= 0 ? slot : thread.enteredSlot);
  const since = slot >= 0 ? new Date(table.getThread(no, 'sinceMs')).toISOString() : holder?.current?.info.startedAt;
  return {
    no,
    state: stateOf(thread),
    sessionId: holder?.id ?? null,
    runId: holder?.current?.id ?? null,
    since: (holder && since) ?? null,
    sessions: thread.sessions,
    eventLoopUtilization: table.getThread(no, 'elu'),
    heapUsed: table.getThread(no, 'heapUsedBytes'),
    heapLimit: table.getThread(no, 'heapLimitBytes'),
    runs: table.getThread(no, 'runs'),
    cpuMs: table.getThread(no, 'cpuMs'),
    crashes: table.getThread(no, 'crashes'),
    interrupts: table.getThread(no, 'interrupts'),
    migrations: table.getThread(no, 'migrations'),
  };
}

function stateOf(thread: AgentThread): ThreadInfo['state'] {
  if (thread.state !== 'up') return thread.state;
  return thread.cpuBusy ? 'busy' : 'idle';
}

function sessionAt(directory: Directory, thread: AgentThread, slot: number | null): Session | undefined {
  if (slot === null) return undefined;
  for (const session of directory.all()) {
    if (session.place?.thread === thread && session.place.slot === slot) return session;
  }
  return undefined;
}
