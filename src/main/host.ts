// A host: starts its parts in order (compose.ts wires them), hears what threads and store say, and is the library's face.

import type { AgentThreadNote } from '../protocol/control.js';
import { fromWire, type CabanaError } from '../protocol/errors.js';
import { assertRunId, assertSessionId } from '../protocol/ids.js';
import {
  COMPACT_SWEEP_INTERVAL_MS,
  EVICT_INTERVAL_MS,
  HEAP_SWEEP_INTERVAL_MS,
  RESUME_MAX_RUNS,
  STALE_SWEEP_INTERVAL_MS,
  WATCHDOG_INTERVAL_MS,
} from '../protocol/limits.js';
import type { AgentProfile, NewSession, RunInfo } from '../protocol/session.js';
import { StatusTable } from '../protocol/status-table.js';
import { systemClock, type Timer } from './clock.js';
import { compose, type Parts } from './compose.js';
import { checkOptions, type HostConfig, type HostOptions } from './config.js';
import { agentFields } from './log.js';
import { agentNice } from './pool/birth-priority.js';
import { StoreThread } from './pool/store-thread.js';
import { ThreadGroup } from './pool/thread-group.js';
import type { EventStream, SessionEvent } from './registry/events/event-stream.js';
import { Subscriptions } from './registry/events/subscriptions.js';
import type { SendOptions } from './registry/runs/intake.js';
import type { SessionRegistry } from './registry/session-registry.js';
import { Directory } from './registry/sessions/directory.js';
import { toRunInfo } from './registry/sessions/run.js';
import type { MessagePage, PageOptions } from './registry/views/history-pages.js';
import { threadInfo, type ThreadInfo } from './registry/views/thread-info.js';
import { handleOf, refusedHandle, type RunHandle } from './run-handle.js';
import { shutDown, type DrainProgress, type ShutdownReport } from './shutdown.js';
import { Tasks } from './tasks.js';

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
  const config = checkOptions(options);
  const host = new Host(config);
  await host.start(beforeRuns);
  return host;
}

export class Host {
  readonly config: HostConfig;
  readonly table = new StatusTable();
  readonly #directory: Directory;
  readonly #profiles = new Map<string, AgentProfile>();
  readonly #timers: Timer[] = [];
  /** Sweeps and restores that nobody else awaits. */
  readonly #background = new Tasks((error) => {
    if (!this.#closing) this.config.log.error({ err: error }, 'a background task failed');
  });
  readonly #subscriptions: Subscriptions;
  #store!: StoreThread;
  #threads!: ThreadGroup;
  #parts!: Parts;
  #closing: Promise<ShutdownReport> | null = null;
  #fatal: CabanaError | null = null;
  #onFatal: (error: CabanaError) => void = () => undefined;

  constructor(config: HostConfig) {
    this.config = config;
    this.#directory = new Directory(this.table, config.clock);
    this.#subscriptions = new Subscriptions({ onWatchers: (id, watchers) => this.#watch(id, watchers) });
  }

  /** See createHost. */
  async start(beforeRuns?: (host: Host) => void | Promise<void>): Promise<void> {
    const { config, table } = this;
    // All threads start at once; the agent threads load the agents when the store has been opened.
    this.#store = new StoreThread(config.dataDir, table.buffer, {
      onEnded: (note) => this.#parts.endings.ended(note.runs),
      onEntries: (note) => this.#subscriptions.publishEntries(note.sessionId, note.rows),
      onFatal: (error) => this.#storeFailed(error),
    });
    try {
      this.#parts = compose({
        config,
        table,
        store: this.#store.calls,
        threads: () => this.#threads,
        directory: this.#directory,
        subscriptions: this.#subscriptions,
        profiles: this.#profiles,
        track: (task) => this.#background.track(task),
      });
      await this.#startThreads();
      const begin = await this.#recover();
      await beforeRuns?.(this);
      if (this.#fatal) throw this.#fatal;
      if (this.#closing) return;
      begin();
    } catch (error) {
      await this.#stopStarting();
      throw error;
    }
    this.#startTimers();
    if (config.restoreSessions > 0)
      this.#background.track(this.#parts.registry.restoreFromDisk({ n: config.restoreSessions }));
  }

  /** Nothing is left running. What fails meanwhile is logged: the caller is told why the start failed. */
  async #stopStarting(): Promise<void> {
    for (const close of [() => this.#threads?.close(), () => this.#store.close()]) {
      try {
        await close();
      } catch (error) {
        this.config.log.error({ err: error }, 'a part of a host that could not start did not close');
      }
    }
  }

  /**
   * Settles the runs that an earlier process left open, as far as their profile is loaded, and takes over what is due.
   * @returns what has that begin
   */
  async #recover(): Promise<() => void> {
    const { clock, log } = this.config;
    const { pending, interrupted } = await this.#store.calls.recover({
      profiles: [...this.#profiles.keys()],
      resumeProfiles: [...this.#profiles.values()].filter((p) => p.onInterrupted === 'resume').map((p) => p.profile),
      maxResumes: RESUME_MAX_RUNS,
      at: clock.now(),
    });
    if (interrupted > 0) log.warn({ interrupted }, 'runs were cut off by the end of an earlier process');
    return this.#parts.intake.adopt(pending);
  }

  async #startThreads(): Promise<void> {
    const { config, table } = this;
    const { group, profiles } = await ThreadGroup.start({
      count: config.threads,
      table,
      agents: config.agents,
      nice: agentNice(config.niceIncrement),
      heapMb: config.threadHeapMb,
      clock: config.clock,
      log: config.log,
      attach: async (thread) => {
        await this.#store.opened;
        await this.#store.attach(thread);
      },
      detach: (no) => this.#store.calls.detach(no),
      onNote: (note) => this.#hear(note),
      onDeath: (thread, reason) => {
        table.countThread(thread.no, 'crashes');
        return this.#parts.rescue.threadDied(thread, reason);
      },
      onReady: () => this.#parts.dispatcher.fill(),
      empty: (thread) => this.#parts.rescue.empty(thread),
    });
    this.#threads = group;
    for (const profile of profiles) this.#profiles.set(profile.profile, profile);
  }

  #startTimers(): void {
    const { clock } = this.config;
    const { registry, passivator, compactor, watchdog } = this.#parts;
    const every = (ms: number, work: () => Promise<unknown>): void => {
      this.#timers.push(clock.every(ms, () => this.#background.track(work())));
    };
    every(EVICT_INTERVAL_MS, () => registry.evictExcessIdle());
    every(HEAP_SWEEP_INTERVAL_MS, () => passivator.relieveHeaps());
    every(STALE_SWEEP_INTERVAL_MS, () => registry.cleanupStale());
    every(COMPACT_SWEEP_INTERVAL_MS, () => compactor.sweep());
    // By the system's clock whatever the host was given: it watches threads, which live in real time.
    this.#timers.push(systemClock.every(WATCHDOG_INTERVAL_MS, () => watchdog.look()));
  }

  /** What an agent thread says without being asked. */
  #hear(note: AgentThreadNote): void {
    const session = this.#directory.get(note.sessionId);
    switch (note.kind) {
      case 'events':
        return this.#subscriptions.publishEvents(note.sessionId, note.runId, note.events);
      case 'gap':
        return this.#subscriptions.publishGap(note.sessionId, note.runId, note.missed);
      case 'report':
        return session?.hear(note.epoch, note.stats);
      case 'rename':
        return session?.hear(note.epoch, { name: note.name });
      case 'refused':
        if (session) this.#background.track(this.#parts.rescue.refused(session, note.epoch, fromWire(note.error)));
        return;
      case 'log':
        return this.config.log[note.level](agentFields(note.sessionId, note.fields), note.message);
      default:
        return note satisfies never;
    }
  }

  #watch(sessionId: string, watchers: number): void {
    const session = this.#directory.get(sessionId);
    if (session) {
      session.watchers = watchers;
      if (session.place) this.table.set('main', session.place.slot, 'watchers', watchers);
      this.#directory.dropIfUnused(session);
    }
    if (watchers <= 1) this.#background.track(this.#store.calls.watch(sessionId, watchers > 0));
  }

  #storeFailed(error: CabanaError): void {
    this.#fatal = error;
    this.config.log.fatal({ err: error }, 'the storage failed; nothing more is acknowledged');
    this.#onFatal(error);
  }

  // --- the library's face

  get registry(): SessionRegistry {
    return this.#parts.registry;
  }

  /** The agents of this host, by profile. */
  get profiles(): ReadonlyMap<string, AgentProfile> {
    return this.#profiles;
  }

  /**
   * Called when the storage has failed for good: nothing more is acknowledged. If it has failed already (runs of an earlier
   * process are executed from the start on), in the turn of being set.
   */
  set onFatal(listener: (error: CabanaError) => void) {
    this.#onFatal = listener;
    if (this.#fatal) listener(this.#fatal);
  }

  /** Set when the storage has failed for good. */
  get fatal(): CabanaError | null {
    return this.#fatal;
  }

  /** False from the moment a shutdown begins. */
  get ready(): boolean {
    return this.#closing === null && this.#fatal === null;
  }

  /** What each agent thread is and does, from the status table: no thread is asked. */
  threads(): ThreadInfo[] {
    return this.#threads.all.map((thread) => threadInfo(thread, this.table, this.#directory));
  }

  /** What the store has committed since the start, from the status table: the store is not asked. */
  storage(): StorageInfo {
    return this.table.commits;
  }

  /** Creates a session; see SessionRegistry.create. @returns its id */
  create(fields: NewSession): Promise<string> {
    return this.#parts.registry.create(fields);
  }

  /**
   * Sends input to a session: a run, which starts when the session's earlier ones have ended. The session is loaded if
   * need be. Refusals reject `accepted` and `result`.
   */
  send(sessionId: string, input: unknown, options: SendOptions = {}): RunHandle {
    try {
      return handleOf(this.#parts.intake.send(sessionId, input, options), this.#subscriptions);
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
    return this.#parts.interrupts.request(sessionId, runId);
  }

  /** A run, from memory or disk; undefined if there is none. */
  async run(sessionId: string, runId: string): Promise<RunInfo | undefined> {
    assertSessionId(sessionId);
    assertRunId(runId);
    const active = this.#parts.intake.find(sessionId, runId);
    if (active?.isAccepted) return active.info;
    // One that is being accepted may be the repetition of one that is over.
    const stored = await this.#store.calls.run(sessionId, runId);
    return stored ? toRunInfo(stored) : this.#parts.intake.find(sessionId, runId)?.info;
  }

  /** The outcome of a run that is not over, when it is; undefined if it is over already, or unknown. */
  pending(sessionId: string, runId: string): Promise<RunInfo> | undefined {
    return this.#parts.intake.find(sessionId, runId)?.result;
  }

  /**
   * A page of a session's history as UTF-8 JSON, made by the store's thread: `{"messages": [...], "has_more": ...}`.
   * @param before a seq; the page holds the newest entries below it: at most `limit`, and 8 MiB as they are stored
   * @returns undefined if there is no such session
   * @throws CabanaError INVALID_ARGUMENT
   */
  messagesJson(sessionId: string, options: PageOptions = {}): Promise<Uint8Array | undefined> {
    return this.#parts.history.json(sessionId, options);
  }

  /** A page of a session's history, oldest first within the page; undefined if there is no such session. */
  messages(sessionId: string, options: PageOptions = {}): Promise<MessagePage | undefined> {
    return this.#parts.history.page(sessionId, options);
  }

  /** What happens in a session from now on. End it (`return()`, or leave a for-await loop), or the session stays in memory. */
  subscribe(sessionId: string): EventStream {
    assertSessionId(sessionId);
    return this.#subscriptions.subscribe(sessionId);
  }

  /** Entries from seq `from` on, as subscribers see them; undefined if there is no such session. */
  entriesFrom(sessionId: string, from: number, limit: number): Promise<SessionEvent[] | undefined> {
    return this.#parts.history.from(sessionId, from, limit);
  }

  /** The seq of a session's last entry, 0 if it has none; undefined if there is no such session. */
  lastSeq(sessionId: string): Promise<number | undefined> {
    return this.#parts.history.lastSeq(sessionId);
  }

  /**
   * Shuts down: no new work, runs may finish for drainMs and are then interrupted, every live agent is flushed, threads
   * and store are closed. Calling it again returns the same promise.
   */
  close(progress?: DrainProgress): Promise<ShutdownReport> {
    this.#closing ??= shutDown(
      {
        config: this.config,
        registry: this.#parts.registry,
        directory: this.#directory,
        dispatcher: this.#parts.dispatcher,
        interrupts: this.#parts.interrupts,
        places: this.#parts.places,
        threads: this.#threads,
        store: this.#store,
        subscriptions: this.#subscriptions,
        stopTimers: () => this.#timers.forEach((timer) => timer.cancel()),
        background: this.#background,
        fatal: () => this.#fatal,
      },
      progress,
    );
    return this.#closing;
  }
}
