// The typed calls: main to an agent thread, main to the store; and the notes that come back.
// Payloads of agents (inputs, outputs, entries, snapshots) are bytes of codec.ts throughout: main passes them on, and
// decodes them for readers only.

import type { MessagePort } from 'node:worker_threads';
import type { WireError } from './errors.js';
import type { EntryRow } from './journal.js';
import type { ListedPage } from './record-page.js';
import type { AgentProfile, ListQuery, RunState, SessionRecord, SessionStats } from './session.js';

// --- what a thread is started with

export interface AgentThreadTask {
  thread: number;
  /** Main's calls arrive here. */
  control: MessagePort;
  /** The link to the store: its port, and its shared memory (journal-ring.ts). */
  journal: MessagePort;
  ring: SharedArrayBuffer;
  table: SharedArrayBuffer;
  /** The counter of what main has dealt with of this thread's notes, and how much may be on its way. */
  noteCounter: SharedArrayBuffer;
  noteWindowBytes: number;
  /** File paths of the agent modules. */
  agents: readonly string[];
  /** The thread's nice value; null: the process's. */
  nice: number | null;
}

/** The first task of a thread that will replace another. */
export type PrepareTask = Pick<AgentThreadTask, 'agents' | 'nice'>;

export interface StoreTask {
  port: MessagePort;
  table: SharedArrayBuffer;
  dataDir: string;
}

// --- main -> agent thread

export interface AgentThreadCalls {
  /** Loads the agent modules. @throws AGENT_MODULE_INVALID */
  hello(): Promise<{ profiles: AgentProfile[] }>;
  /**
   * Loads the session from the store under a new epoch and brings its agent up. Null: there is no such session, or main
   * has taken the request back.
   */
  activate(request: { sessionId: string; slot: number; generation: number }): Promise<Activated | null>;
  /**
   * Executes a run to its end. Its outcome reaches main from the store, when it is on disk. Null: it was offered, and
   * main took it back.
   */
  run(request: RunRequest): Promise<RunReport | null>;
  /** Calls the definition's compact(), interruptible as the run `runNo`. False: it was undone. */
  compact(sessionId: string, runNo: number): Promise<boolean>;
  /** Aborts ctx.signal of that run; the table has told its checkpoint() already. */
  interrupt(sessionId: string, runNo: number): void;
  /** Makes everything of the agent durable; it stays in memory. */
  flush(sessionId: string): Promise<void>;
  /** Makes everything durable, calls stop() and releases the agent. @throws SAVE_FAILED: it stays in memory */
  passivate(sessionId: string): Promise<void>;
  /** Releases the agent without saving (deleted, or superseded); waits for the end of its run. */
  discard(sessionId: string, epoch: number): Promise<void>;
  /** Collects the thread's garbage: what has left memory counts as heap until then. */
  collect(): void;
  /** Calls stop() of every agent and ends the thread's task. */
  shutdown(): Promise<void>;
}

export const AGENT_THREAD_CALLS = [
  'hello',
  'activate',
  'run',
  'compact',
  'interrupt',
  'flush',
  'passivate',
  'discard',
  'collect',
  'shutdown',
] as const satisfies readonly (keyof AgentThreadCalls)[];

export interface Activated {
  epoch: number;
  record: SessionRecord;
}

export interface RunRequest {
  sessionId: string;
  runNo: number;
  runId: string;
  /** The journaled input entry, `{role: 'user', content: input}`; null: the thread reads it from the store. */
  input: Uint8Array | null;
  inputSeq: number;
  resumed: boolean;
  /** 0: it begins at once. Else its number as an offer: it begins when the thread is free, unless main takes it back. */
  offer: number;
}

export interface RunReport {
  /** Whether the state after this run went to the store with its outcome. */
  saved: boolean;
}

/** What an agent thread tells main without being asked. */
export type AgentThreadNote =
  /** Events of a watched session: a batch of event-batch.ts. */
  | { kind: 'events'; sessionId: string; runId: string | null; events: Uint8Array }
  /** `missed` events are missing between those before and those after: main was too slow for them. */
  | { kind: 'gap'; sessionId: string; runId: string | null; missed: number }
  | { kind: 'report'; sessionId: string; epoch: number; stats: Partial<SessionStats> }
  /** `calledAt`: when the agent gave the name, by instant.ts. */
  | { kind: 'rename'; sessionId: string; epoch: number; name: string; calledAt: number }
  /** The store has refused what the activation wrote, and takes nothing more of it. */
  | { kind: 'refused'; sessionId: string; epoch: number; error: WireError }
  | { kind: 'log'; sessionId: string; level: AgentLogLevel; message: string; fields: Record<string, unknown> | null };

/** A note on its way, and what it takes of the thread's window: given back when main has dealt with it. */
export type WeighedNote = AgentThreadNote & { weight: number };

/**
 * The shared counter of a thread's notes: the weight that main has dealt with, wrapping at 2^32. The thread compares it
 * with what it posted, and can wait for it without a turn of its event loop.
 */
export function newNoteCounter(): SharedArrayBuffer {
  return new SharedArrayBuffer(4);
}

export type AgentLogLevel = 'debug' | 'info' | 'warn' | 'error';

// --- main -> store

export interface StoreCalls {
  /** Opens an agent thread's link. `ring`: its shared memory (journal-ring.ts). */
  attach(thread: number, port: MessagePort, ring: SharedArrayBuffer): void;
  /** Takes in what the thread had posted, then closes its link. */
  detach(thread: number): Promise<void>;
  /** Settles the runs that an earlier process left open; once, at start. */
  recover(request: RecoverRequest): Promise<Recovered>;
  /** @throws SESSION_EXISTS, STORE_FULL */
  create(record: SessionRecord): Promise<void>;
  /** Journals a run's input. A run id that is known answers with that run, and journals nothing. */
  accept(request: AcceptRequest): Promise<Accepted>;
  /** Ends a run that its thread cannot end. What the thread had posted comes first; an ended run stays as it is. */
  endRun(request: EndRunRequest): Promise<StoredRun>;
  /**
   * Puts a run that its thread has lost back in line; its activation is fenced off.
   * @param ifUnstarted only if the thread had not begun it
   * @returns false: the run is over, or (ifUnstarted) its thread had begun it
   */
  requeue(sessionId: string, runId: string, ifUnstarted: boolean): Promise<boolean>;
  /**
   * Forgets an activation that has left memory.
   * @param epoch null: whichever is current (it was never known, or ending the run changed it)
   * @param whenFull keep (the default): wait for room on the disk; refuseInOrder: throw STORE_FULL
   */
  release(sessionId: string, epoch: number | null, whenFull?: 'keep' | 'refuseInOrder'): Promise<void>;
  /** Tombstones the session and ends its runs. False: there is none. */
  remove(sessionId: string, at: number): Promise<boolean>;
  /** As if it had never been created. False: there is none. */
  erase(sessionId: string, at: number): Promise<boolean>;
  /** Null: there is no such session. */
  update(sessionId: string, fields: SessionUpdate, at: number): Promise<Updated | null>;
  record(sessionId: string): Promise<SessionRecord | null>;
  page(query: ListQuery): Promise<ListedPage>;
  /** The ids of the newest n sessions of each source, `max` in all at most. */
  newest(n: number, max: number): Promise<string[]>;
  cronCount(): Promise<number>;
  /** A page of the history as UTF-8 JSON: `{"messages": [...], "has_more": boolean}`; null: no such session. */
  messagesJson(sessionId: string, options: { limit: number; before: number | null }): Promise<Uint8Array | null>;
  /** Entries from seq `from` on, at most `limit`; null: no such session. */
  entries(sessionId: string, from: number, limit: number): Promise<EntryRow[] | null>;
  /** The highest seq of a history, 0 if it has no entry; null: no such session. */
  lastSeq(sessionId: string): Promise<number | null>;
  run(sessionId: string, runId: string): Promise<StoredRun | null>;
  /** Whether entries of this session are sent to main as they become durable. */
  watch(sessionId: string, on: boolean): void;
  /** The host ends soon: what can be left to the next start is. */
  drain(): void;
  /** @returns false: some operations that were never acknowledged could not be written (disk full or failed) */
  close(): Promise<boolean>;
}

export const STORE_CALLS = [
  'attach',
  'detach',
  'recover',
  'create',
  'accept',
  'endRun',
  'requeue',
  'release',
  'remove',
  'erase',
  'update',
  'record',
  'page',
  'newest',
  'cronCount',
  'messagesJson',
  'entries',
  'lastSeq',
  'run',
  'watch',
  'drain',
  'close',
] as const satisfies readonly (keyof StoreCalls)[];

/** What its sender asked for a run beside its input. It holds in whichever process the run is executed. */
export interface RunTerms {
  /** Milliseconds; null: its profile's, if that has one. */
  timeoutMs: number | null;
  /** Higher first, among the sessions in line. */
  priority: number;
}

export interface AcceptRequest {
  sessionId: string;
  runId: string;
  /** Default: its profile's timeout, and priority 0. */
  terms?: RunTerms;
  /** `{role: 'user', content: input}`, encoded. */
  input: Uint8Array;
  /** Unix milliseconds. */
  at: number;
}

export interface Accepted {
  run: StoredRun;
  /** False: the run id was known. */
  isNew: boolean;
  agentProfile: string;
}

export interface EndRunRequest {
  sessionId: string;
  runId: string;
  state: Extract<RunState, 'completed' | 'failed' | 'interrupted'>;
  entry: Uint8Array;
  error: string | null;
  code: string | null;
  at: number;
}

export interface SessionUpdate {
  name?: string | null;
  pinned?: boolean;
  /** Why the session takes no more runs; null: it does. */
  quarantine?: string | null;
}

/** The new record, and the instant (instant.ts) of the change: what an agent did before it does not undo it. */
export interface Updated {
  record: SessionRecord;
  instant: number;
}

/** A run as the store keeps it. */
export interface StoredRun {
  sessionId: string;
  runId: string;
  state: RunState;
  inputSeq: number;
  output: Uint8Array | null;
  error: string | null;
  code: string | null;
  /** Unix milliseconds. */
  startedAt: number | null;
  endedAt: number | null;
  /** How often it was started, less the starts that a requeue took back: with a run that runs, 1 and its resumes. */
  attempts: number;
}

export interface RecoverRequest {
  /** The profiles that are loaded: runs of any other stay as they are. */
  profiles: string[];
  /** Those whose cut-off runs start again instead of reading `interrupted`, and how often at most. */
  resumeProfiles: string[];
  maxResumes: number;
  at: number;
}

/** An open run of an earlier process. */
export interface PendingRun {
  run: StoredRun;
  terms: RunTerms;
  agentProfile: string;
}

export interface Recovered {
  /** Runs that never started, that are resumed, or whose profile is not loaded; in the order of their acceptance. */
  pending: PendingRun[];
  /** Runs that now read `interrupted`. */
  interrupted: number;
}

/** What the store tells main without being asked. */
export type StoreNote =
  | { kind: 'ready' }
  | { kind: 'startFailed'; error: WireError }
  /** Runs whose outcome is on disk now. */
  | { kind: 'ended'; runs: StoredRun[] }
  /** Entries of watched sessions that are on disk now. */
  | { kind: 'entries'; sessionId: string; rows: EntryRow[] }
  /** The storage failed for good: nothing more will be acknowledged. */
  | { kind: 'fatal'; error: WireError };
