// The package's public face. Nothing inside imports it.

export { createHost, type Host, type StorageInfo } from './host.js';
export type { RunHandle } from './run-handle.js';
export type { HostConfig, HostOptions } from './config.js';
export type { Log, LogLevel } from './log.js';
export type { ShutdownReport, DrainProgress } from './shutdown.js';
export type { SendOptions } from './registry/runs/intake.js';
export type { WhenBusy } from './registry/sessions/run.js';
export type { EventStream, SessionEvent } from './registry/events/event-stream.js';
export type { MessagePage, PageOptions } from './registry/views/history-pages.js';
export type { LiveAgent, LiveAgentVisitor } from './registry/lifecycle/live-agents.js';
export type { SessionRegistry } from './registry/session-registry.js';
export type { LiveFields, Session } from './registry/sessions/session.js';
export type { ThreadInfo } from './registry/views/thread-info.js';
export type { SessionEntry, SessionSummary } from './registry/views/session-view.js';
export type { SessionPage } from './registry/views/listing.js';
export type { Clock, Timer } from './clock.js';
export { CabanaError, ERROR_CODES, type ErrorCode } from '../protocol/errors.js';
export type {
  AgentProfile,
  JournalEntry,
  ListQuery,
  NewSession,
  RunInfo,
  RunState,
  SessionRow,
  SessionSource,
  SessionStats,
  SessionStatus,
} from '../protocol/session.js';
export type { SessionState } from '../protocol/session-state.js';
