// The running parts of a host (compose.ts wires them): started in order, heard, swept, and shut down.

import type { Remote } from '../protocol/calls.js';
import type { AgentThreadNote, StoreCalls } from '../protocol/control.js';
import { fromWire, type CabanaError } from '../protocol/errors.js';
import {
  COMPACT_SWEEP_INTERVAL_MS,
  EVICT_INTERVAL_MS,
  HEAP_SWEEP_INTERVAL_MS,
  RESUME_MAX_RUNS,
  STALE_SWEEP_INTERVAL_MS,
  WATCHDOG_INTERVAL_MS,
} from '../protocol/limits.js';
import type { AgentProfile } from '../protocol/session.js';
import { StatusTable } from '../protocol/status-table.js';
import { systemClock, type Timer } from './clock.js';
import { compose, type Parts } from './compose.js';
import type { HostConfig } from './config.js';
import { agentFields } from './log.js';
import { agentNice } from './pool/birth-priority.js';
import { StoreThread } from './pool/store-thread.js';
import { ThreadGroup } from './pool/thread-group.js';
import { Subscriptions } from './registry/events/subscriptions.js';
import { Directory } from './registry/sessions/directory.js';
import { shutDown, type DrainProgress, type ShutdownReport } from './shutdown.js';
import { Tasks } from './tasks.js';

export class Engine {
  readonly config: HostConfig;
  readonly table = new StatusTable();
  readonly directory: Directory;
  readonly subscriptions: Subscriptions;
  /** The agents, by profile. */
  readonly profiles = new Map<string, AgentProfile>();
  readonly #timers: Timer[] = [];
  /** Sweeps and restores that nobody else awaits. */
  readonly #background = new Tasks((error) => {
    if (!this.#closing) this.config.log.error({ err: error }, 'a background task failed');
  });
  #store!: StoreThread;
  #threads!: ThreadGroup;
  #parts!: Parts;
  #closing: Promise<ShutdownReport> | null = null;
  #fatal: CabanaError | null = null;
  #onFatal: (error: CabanaError) => void = () => undefined;

  constructor(config: HostConfig) {
    this.config = config;
    this.directory = new Directory(this.table, config.clock);
    this.subscriptions = new Subscriptions({ onWatchers: (id, watchers) => this.#watch(id, watchers) });
  }

  /**
   * @param beforeRuns called when all is up and before runs of an earlier process begin
   * @throws CabanaError, or what beforeRuns threw; nothing is left running then
   */
  async start(beforeRuns: () => void | Promise<void>): Promise<void> {
    const { config, table } = this;
    // All threads start at once; the agent threads load the agents when the store has been opened.
    this.#store = new StoreThread(config.dataDir, table.buffer, {
      onEnded: (note) => this.#parts.endings.ended(note.runs),
      onEntries: (note) => this.subscriptions.publishEntries(note.sessionId, note.rows),
      onFatal: (error) => this.#storeFailed(error),
    });
    try {
      this.#parts = compose({
        config,
        table,
        store: this.#store.calls,
        threads: () => this.#threads,
        directory: this.directory,
        subscriptions: this.subscriptions,
        profiles: this.profiles,
        track: (task) => this.#background.track(task),
      });
      await this.#startThreads();
      const begin = await this.#recover();
      await beforeRuns();
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
      profiles: [...this.profiles.keys()],
      resumeProfiles: [...this.profiles.values()].filter((p) => p.onInterrupted === 'resume').map((p) => p.profile),
      maxResumes: RESUME_MAX_RUNS,
      at: clock.now(),
    });
    if (interrupted > 0) log.warn({ interrupted }, 'runs were cut off by the end of an earlier process');
    return this.#parts.intake.takeOver(pending);
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
        this.#background.track(this.#parts.rescue.threadDied(thread, reason));
      },
      onReady: () => this.#parts.dispatcher.fill(),
      empty: (thread) => this.#parts.rescue.empty(thread),
      track: (task) => this.#background.track(task),
    });
    this.#threads = group;
    for (const profile of profiles) this.profiles.set(profile.profile, profile);
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
    const session = this.directory.get(note.sessionId);
    switch (note.kind) {
      case 'events':
        if (this.#isOver(note)) return;
        return this.subscriptions.publishEvents(note.sessionId, note.runId, note.events);
      case 'gap':
        if (this.#isOver(note)) return;
        return this.subscriptions.publishGap(note.sessionId, note.runId, note.missed);
      case 'report':
        return session?.hear(note.epoch, note.stats);
      case 'rename':
        return session?.hearName(note.epoch, note.name, note.calledAt);
      case 'refused':
        if (session) this.#background.track(this.#parts.rescue.refused(session, note.epoch, fromWire(note.error)));
        return;
      case 'log':
        return this.config.log[note.level](agentFields(note.sessionId, note.fields), note.message);
      default:
        return note satisfies never;
    }
  }

  /**
   * What a run says after its end, which it was not asked for (it was abandoned, or its thread given up), belongs to
   * nothing any more. Of one that ended by itself nothing can come: its report is behind all its events.
   */
  #isOver({ sessionId, runId }: { sessionId: string; runId: string | null }): boolean {
    return runId !== null && !this.#parts.intake.find(sessionId, runId);
  }

  #watch(sessionId: string, watchers: number): void {
    const session = this.directory.get(sessionId);
    if (session) {
      session.watchers = watchers;
      if (session.place) this.table.set('main', session.place.slot, 'watchers', watchers);
      this.directory.dropIfUnused(session);
    }
    if (watchers <= 1) this.#background.track(this.#store.calls.watch(sessionId, watchers > 0));
  }

  #storeFailed(error: CabanaError): void {
    this.#fatal = error;
    this.config.log.fatal({ err: error }, 'the storage failed; nothing more is acknowledged');
    this.#onFatal(error);
  }

  get store(): Remote<StoreCalls> {
    return this.#store.calls;
  }

  get threads(): ThreadGroup {
    return this.#threads;
  }

  get parts(): Parts {
    return this.#parts;
  }

  /** Set when the storage has failed for good. */
  get fatal(): CabanaError | null {
    return this.#fatal;
  }

  /** A shutdown has begun. */
  get closing(): boolean {
    return this.#closing !== null;
  }

  /** Called when the storage has failed for good; if it has already, in the turn of being set. */
  set onFatal(listener: (error: CabanaError) => void) {
    this.#onFatal = listener;
    if (this.#fatal) listener(this.#fatal);
  }

  /** Shuts everything down, in order (shutdown.ts). Calling it again returns the same promise. */
  close(progress?: DrainProgress): Promise<ShutdownReport> {
    this.#closing ??= shutDown(
      {
        config: this.config,
        registry: this.#parts.registry,
        directory: this.directory,
        dispatcher: this.#parts.dispatcher,
        interrupts: this.#parts.interrupts,
        places: this.#parts.places,
        threads: this.#threads,
        store: this.#store,
        subscriptions: this.subscriptions,
        stopTimers: () => this.#timers.forEach((timer) => timer.cancel()),
        background: this.#background,
        fatal: () => this.#fatal,
      },
      progress,
    );
    return this.#closing;
  }
}
