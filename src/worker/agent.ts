// What an agent's author imports (package export "cabana/agent"): the shape of a definition and of the context its
// hooks are given. Types only, but for defineAgent(), which adds nothing to a plain object.

import type { JournalEntry } from '../protocol/session.js';

export type { JournalEntry } from '../protocol/session.js';

/** How a run uses its thread. 'cpu': it has the thread to itself while it runs. 'io': it shares the thread. */
export type AgentLoad = 'cpu' | 'io';

/** When a snapshot is written. 'run': with each run's outcome, in one transaction. 'flush': only on leaving memory. */
export type SaveWhen = 'run' | 'flush';

/** The figures an agent may report about itself; each is shown in the session's row. Costs are added up. */
export interface AgentReport {
  /** Name of the model as shown to people. */
  model?: string;
  modelId?: string;
  /** Cost in US dollars of what was done since the last report; added to the session's total. */
  costUsd?: number;
  /** Where the cost comes from, for example 'api' or 'estimate'. */
  costSource?: string;
  reasoningEffort?: string;
  permissionMode?: string;
  cardModel?: string;
  subModel?: string;
  subModelOptions?: readonly string[];
  topUpUrl?: string;
  /** Milliseconds; by default the host reports how long the latest run took. */
  latencyMs?: number;
}

/** An agent's history: append-only, durable, numbered by the store without gaps. */
export interface AgentHistory {
  /**
   * Encodes the entry and hands its bytes to the store thread before it returns: what was appended is safe even if
   * the agent never yields again. An entry is a plain object. Awaiting the result waits for room in the journal's
   * backlog, not for the disk (see `durable`).
   * @throws CabanaError ENTRY_INVALID (not a plain object), ENTRY_TOO_LARGE, VALUE_NOT_ENCODABLE, JOURNAL_BACKLOG (too
   * much not yet on disk), STALE_EPOCH (this activation was superseded)
   */
  append(entry: JournalEntry): void | Promise<void>;
  /**
   * Reads entries from the store, oldest first, starting at seq `from` (default 1), at most `limit` (default all).
   * @throws CabanaError INVALID_ARGUMENT, STALE_EPOCH (the session was deleted), STORE_CORRUPT (an entry is damaged)
   */
  entries(options?: { from?: number; limit?: number }): AsyncIterableIterator<StoredEntry>;
  /** Number of entries, including those not yet on disk. */
  readonly length: number;
  /** The highest seq that is on disk. Readable from a blocked thread: it costs no message. */
  readonly durableSeq: number;
  /**
   * Resolves when everything appended so far is on disk.
   * @throws CabanaError STORE_FULL (kept in the backlog and retried), STALE_EPOCH (this activation was superseded)
   */
  durable(): Promise<void>;
}

/** An entry as it was stored: its own fields beside seq (from 1, no gaps) and created_at (ISO 8601). */
export type StoredEntry = JournalEntry & { seq: number; created_at: string };

/** Structured logging; lines carry the session's id and reach the host's log. */
export interface AgentLog {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** What every hook is given. One object per activation: `state` is what lives between runs. */
export interface AgentContext<State> {
  readonly sessionId: string;
  state: State;
  /** What the session was created with. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly workingDir: string | null;
  /** Aborted when the current run is asked to stop. For asynchronous code; synchronous code calls checkpoint(). */
  readonly signal: AbortSignal;
  /** Throws AgentInterrupted if the current run was asked to stop. Synchronous; costs one atomic load. */
  checkpoint(): void;
  /**
   * Gives the thread up if this run has had it for 10 ms, so that other work of the thread is served.
   * @throws AgentInterrupted if the run was asked to stop
   */
  yield(): Promise<void>;
  readonly history: AgentHistory;
  /** True while a run that was cut off by a crash of the process is executed again (`onInterrupted: 'resume'`). */
  readonly resumed: boolean;
  /**
   * Sends an event to the session's subscribers. Not kept: what must survive goes into the history. While main is slower
   * than its agents, this holds the thread for 50 ms at most; then the event is dropped, and subscribers are told of a gap.
   * @throws CabanaError VALUE_NOT_ENCODABLE, PAYLOAD_TOO_LARGE; without subscribers nothing is encoded and nothing
   * thrown
   */
  emit(event: unknown): void;
  /**
   * Publishes 0..1 and a short label (27 bytes of UTF-8 are kept) in the status table; costs no message.
   * @throws CabanaError INVALID_ARGUMENT: negative or not a number; more than 1 counts as 1
   */
  progress(fraction: number, label?: string): void;
  /**
   * Shows figures in the session's row.
   * @throws CabanaError INVALID_ARGUMENT: an unknown figure, or one of the wrong type; then none of them counts
   */
  report(figures: AgentReport): void;
  /** Gives the session a name. Kept with the session. @throws CabanaError INVALID_ARGUMENT: not text, or too long */
  rename(name: string): void;
  readonly log: AgentLog;
}

/** What a run may give instead of its output: a generator of either kind, whose yields are events. */
export type AgentSteps<Output> = Generator<unknown, Output, void> | AsyncGenerator<unknown, Output, void>;

/** What `run` may be: a function, an async function, or a generator of either kind. The first two may give a generator. */
export type AgentRun<State, Input, Output> = (
  ctx: AgentContext<State>,
  input: Input,
) => Output | AgentSteps<Output> | Promise<Output | AgentSteps<Output>>;

/**
 * An agent definition: the default export of an agent module. Hooks other than `run` and `compact` have 60 s.
 */
export interface AgentDefinition<State = unknown, Input = unknown, Output = unknown> {
  /** What a session names as its agent_profile; unique among the modules of a host. */
  profile: string;
  /** Default 'cpu'. */
  load?: AgentLoad;
  /** A new session's state. Default: an empty object. */
  start?: (ctx: AgentContext<State>) => State | Promise<State>;
  /**
   * The state after passivation or a crash. Default: `saved`.
   * @param saved the last snapshot; before the first one, what save() makes of start()'s state
   * @param tail entries journaled after that snapshot, oldest first, in their stored form
   */
  restore?: (ctx: AgentContext<State>, saved: State, tail: StoredEntry[]) => State | Promise<State>;
  run: AgentRun<State, Input, Output>;
  /**
   * What a snapshot holds. Default: `ctx.state`. Structured data: plain values, Map, Set, Date, typed arrays. It may be
   * asynchronous; it is called again if the history has grown meanwhile.
   */
  save?: (ctx: AgentContext<State>) => unknown;
  /** Default 'run'. */
  saveWhen?: SaveWhen;
  /** Called once after a while of idleness; interruptible like a run. If it does not complete, the state from before is restored. */
  compact?: (ctx: AgentContext<State>) => void | Promise<void>;
  /** Called when the activation leaves memory. What the agent's timers do afterwards is not heard: clear them here. */
  stop?: (ctx: AgentContext<State>) => void | Promise<void>;
  /** Milliseconds, at most 7 days, after which a run of this profile is asked to stop. Default: no limit. */
  runTimeoutMs?: number;
  /** How often a run is started again when a neighbour took its thread down. Default 0. */
  retry?: number;
  /** What becomes of a run that a crash of the process cut off. Default 'report': it reads `interrupted`. */
  onInterrupted?: 'report' | 'resume';
}

/** Adds types to a definition; returns it unchanged. */
export function defineAgent<State = unknown, Input = unknown, Output = unknown>(
  definition: AgentDefinition<State, Input, Output>,
): AgentDefinition<State, Input, Output> {
  return definition;
}

/** Thrown by `checkpoint()` when the run was asked to stop. Rethrow it, or let it pass: the run then reads interrupted. */
export class AgentInterrupted extends Error {
  override readonly name = 'AgentInterrupted';
  readonly code = 'RUN_INTERRUPTED';
  constructor(reason = 'Interrupted') {
    super(reason);
  }
}
