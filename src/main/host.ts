// A host: the library's face.

import type { CabanaError } from '../protocol/errors.js';
import { assertRunId, assertSessionId } from '../protocol/ids.js';
import type { AgentProfile, NewSession, RunInfo } from '../protocol/session.js';
import type { StatusTable } from '../protocol/status-table.js';
import { checkOptions, type HostConfig, type HostOptions } from './config.js';
import { Engine } from './engine.js';
import type { EventStream, SessionEvent } from './registry/events/event-stream.js';
import type { SendOptions } from './registry/runs/intake.js';
import type { SessionRegistry } from './registry/session-registry.js';
import { toRunInfo } from './registry/sessions/run.js';
import type { MessagePage, PageOptions } from './registry/views/history-pages.js';
import { threadInfo, type ThreadInfo } from './registry/views/thread-info.js';
import { handleOf, refusedHandle, type RunHandle } from './run-handle.js';
import type { DrainProgress, ShutdownReport } from './shutdown.js';

export interface StorageInfo {
  /** Transactions, each made durable as a whole. */
  commits: number;
  /** Entries, outcomes, snapshots and other changes that were in them. */
  operations: number;
}

/**
 * Starts a host: opens the data folder, starts the threads, settles what an earlier process left behind.
 * @param beforeRuns called when all is up and before runs of an earlier process begin: for what must succeed first, like
 * listening on a port. If it closes the host, none begins
 * @throws CabanaError CONFIG_INVALID, AGENT_MODULE_INVALID, DATA_DIR_IN_USE, DATA_DIR_INVALID, STORE_SCHEMA; or what
 * beforeRuns threw. Nothing is left running then, and no run has begun
 */
export async function createHost(
  options: HostOptions,
  beforeRuns?: (host: Host) => void | Promise<void>,
): Promise<Host> {
  const engine = new Engine(checkOptions(options));
  const host = new Host(engine);
  await engine.start(() => beforeRuns?.(host));
  return host;
}

export class Host {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  get config(): HostConfig {
    return this.#engine.config;
  }

  get table(): StatusTable {
    return this.#engine.table;
  }

  get registry(): SessionRegistry {
    return this.#engine.parts.registry;
  }

  /** The agents of this host, by profile. */
  get profiles(): ReadonlyMap<string, AgentProfile> {
    return this.#engine.profiles;
  }

  /**
   * Called when the storage has failed for good: nothing more is acknowledged. If it has failed already (runs of an earlier
   * process are executed from the start on), in the turn of being set.
   */
  set onFatal(listener: (error: CabanaError) => void) {
    this.#engine.onFatal = listener;
  }

  /** Set when the storage has failed for good. */
  get fatal(): CabanaError | null {
    return this.#engine.fatal;
  }

  /** False from the moment a shutdown begins. */
  get ready(): boolean {
    return !this.#engine.closing && this.#engine.fatal === null;
  }

  /** What each agent thread is and does, from the status table: no thread is asked. */
  threads(): ThreadInfo[] {
    return this.#engine.threads.all.map((thread) => threadInfo(thread, this.#engine.table, this.#engine.directory));
  }

  /** What the store has committed since the start, from the status table: the store is not asked. */
  storage(): StorageInfo {
    return this.#engine.table.commits;
  }

  /** Creates a session; see SessionRegistry.create. @returns its id */
  create(fields: NewSession): Promise<string> {
    return this.#engine.parts.registry.create(fields);
  }

  /**
   * Sends input to a session: a run, which starts when the session's earlier ones have ended. The session is loaded if
   * need be. Refusals reject `accepted` and `result`.
   */
  send(sessionId: string, input: unknown, options: SendOptions = {}): RunHandle {
    try {
      return handleOf(this.#engine.parts.intake.send(sessionId, input, options), this.#engine.subscriptions);
    } catch (error) {
      // Whatever was given for options: also that is refused by the handle.
      return refusedHandle(typeof options?.runId === 'string' ? options.runId : '', error as Error);
    }
  }

  /**
   * Asks the session's current run, or the run of this id, to stop.
   * @returns the id of the run that was asked; null: there is none
   */
  interrupt(sessionId: string, runId?: string): string | null {
    assertSessionId(sessionId);
    return this.#engine.parts.interrupts.request(sessionId, runId);
  }

  /** A run, from memory or disk; undefined if there is none. */
  async run(sessionId: string, runId: string): Promise<RunInfo | undefined> {
    assertSessionId(sessionId);
    assertRunId(runId);
    const active = this.#engine.parts.intake.find(sessionId, runId);
    if (active?.isAccepted) return active.info;
    // One that is being accepted may be the repetition of one that is over.
    const stored = await this.#engine.store.run(sessionId, runId);
    return stored ? toRunInfo(stored) : this.#engine.parts.intake.find(sessionId, runId)?.info;
  }

  /**
   * The outcome of a run that is not over, when it is; undefined if it is over already, or unknown.
   * @param withinMs resolves with undefined after so many milliseconds, and leaves nothing behind. (A race against this
   * promise would: what waits for a promise stays until it is settled.) Default: waits for the end
   */
  pending(sessionId: string, runId: string): Promise<RunInfo> | undefined;
  pending(sessionId: string, runId: string, withinMs: number): Promise<RunInfo | undefined> | undefined;
  pending(sessionId: string, runId: string, withinMs?: number): Promise<RunInfo | undefined> | undefined {
    const run = this.#engine.parts.intake.find(sessionId, runId);
    return withinMs === undefined ? run?.result : run?.resultWithin(this.config.clock, withinMs);
  }

  /**
   * A page of a session's history as UTF-8 JSON, made by the store's thread: `{"messages": [...], "has_more": ...}`.
   * @param before a seq; the page holds the newest entries below it: at most `limit`, and 8 MiB as they are stored
   * @returns undefined if there is no such session
   * @throws CabanaError INVALID_ARGUMENT
   */
  messagesJson(sessionId: string, options: PageOptions = {}): Promise<Uint8Array | undefined> {
    return this.#engine.parts.history.json(sessionId, options);
  }

  /** A page of a session's history, oldest first within the page; undefined if there is no such session. */
  messages(sessionId: string, options: PageOptions = {}): Promise<MessagePage | undefined> {
    return this.#engine.parts.history.page(sessionId, options);
  }

  /** What happens in a session from now on. End it (`return()`, or leave a for-await loop), or the session stays in memory. */
  subscribe(sessionId: string): EventStream {
    assertSessionId(sessionId);
    return this.#engine.subscriptions.subscribe(sessionId);
  }

  /** Entries from seq `from` on, as subscribers see them; undefined if there is no such session. */
  entriesFrom(sessionId: string, from: number, limit: number): Promise<SessionEvent[] | undefined> {
    return this.#engine.parts.history.from(sessionId, from, limit);
  }

  /** The seq of a session's last entry, 0 if it has none; undefined if there is no such session. */
  lastSeq(sessionId: string): Promise<number | undefined> {
    return this.#engine.parts.history.lastSeq(sessionId);
  }

  /**
   * Shuts down: no new work, runs may finish for drainMs and are then interrupted, every live agent is flushed, threads
   * and store are closed. Calling it again returns the same promise.
   */
  close(progress?: DrainProgress): Promise<ShutdownReport> {
    return this.#engine.close(progress);
  }
}
