// The composition root: makes the parts that have to do with sessions and runs, and wires them to each other.

import type { Remote } from '../protocol/calls.js';
import type { StoreCalls } from '../protocol/control.js';
import type { AgentProfile } from '../protocol/session.js';
import type { StatusTable } from '../protocol/status-table.js';
import { liveTime, systemClock } from './clock.js';
import type { HostConfig } from './config.js';
import type { AgentThread } from './pool/agent-thread.js';
import { Suspicion } from './pool/suspicion.js';
import type { ThreadGroup } from './pool/thread-group.js';
import { Watchdog } from './pool/watchdog.js';
import { Compactor } from './registry/compactor.js';
import type { Subscriptions } from './registry/events/subscriptions.js';
import { Activations } from './registry/lifecycle/activations.js';
import { Departures } from './registry/lifecycle/departures.js';
import { Existence } from './registry/lifecycle/existence.js';
import { Lifecycle } from './registry/lifecycle/lifecycle.js';
import { Passivator } from './registry/lifecycle/passivator.js';
import { Places } from './registry/lifecycle/places.js';
import { Relief, type ReliefParts } from './registry/relief.js';
import { Rescue } from './registry/rescue.js';
import { Admission } from './registry/runs/admission.js';
import { Dispatcher } from './registry/runs/dispatcher.js';
import { Endings } from './registry/runs/endings.js';
import type { Execution } from './registry/runs/execution.js';
import { Intake } from './registry/runs/intake.js';
import { Interrupts } from './registry/runs/interrupts.js';
import { Losses } from './registry/runs/losses.js';
import { Quarantine } from './registry/runs/quarantine.js';
import { SessionRegistry } from './registry/session-registry.js';
import type { Directory } from './registry/sessions/directory.js';
import { RunTable } from './registry/sessions/run-table.js';
import { HistoryPages } from './registry/views/history-pages.js';
import { Listing } from './registry/views/listing.js';

export interface Foundations {
  config: HostConfig;
  table: StatusTable;
  store: Remote<StoreCalls>;
  /** The threads are started after the parts are made: asked for when they are needed. */
  threads: () => ThreadGroup;
  directory: Directory;
  subscriptions: Subscriptions;
  profiles: ReadonlyMap<string, AgentProfile>;
  /** Takes charge of work that nobody awaits. */
  track: (task: Promise<unknown>) => void;
}

export interface Parts {
  places: Places;
  dispatcher: Dispatcher;
  endings: Endings;
  interrupts: Interrupts;
  intake: Intake;
  passivator: Passivator;
  compactor: Compactor;
  rescue: Rescue;
  watchdog: Watchdog<Execution>;
  registry: SessionRegistry;
  history: HistoryPages;
}

export function compose(foundations: Foundations): Parts {
  const { config, store, table, directory, subscriptions, profiles, track } = foundations;
  const { clock, log, maxIdleAgents, interruptGraceMs: graceMs, compactAfterMs } = config;
  const threads = (): readonly AgentThread[] => foundations.threads().threads;
  const shared = { directory, subscriptions, store, table, profiles, clock, log };

  const runs = new RunTable();
  const places = new Places(table, log);
  const departures = new Departures({
    ...shared,
    places,
    strike: (session, reason) => quarantine.strike(session, reason),
    onSettled: () => dispatcher.fill(),
  });
  // Threads live in real time, whatever clock the host was given.
  const suspicion = new Suspicion(systemClock);
  const activations = new Activations({ table, threads, suspicion });
  const lifecycle = new Lifecycle({
    ...shared,
    places,
    activations,
    departures,
    suspicion,
    threads,
    threadReplaced: () => foundations.threads().replaced(),
    threadsClosing: () => foundations.threads().closing,
  });
  const existence = new Existence({ ...shared, lifecycle, places, activations });
  const quarantine = new Quarantine({ ...shared, suspicion });
  const admission = new Admission({
    maxRunningAgents: config.maxRunningAgents,
    threads,
    openRuns: () => runs.size,
    suspicion,
    clock,
  });
  const endings = new Endings({ ...shared, runs, suspicion });
  const interrupts = new Interrupts({
    ...shared,
    endings,
    activations,
    admission,
    track: (task) => dispatcher.track(task),
  });
  const draining = (): boolean => dispatcher.draining;
  const runsOn = (thread: AgentThread): number => dispatcher.runsOn(thread);
  const losses = new Losses({ ...shared, departures, endings, quarantine, draining, runsOn });
  const dispatcher: Dispatcher = new Dispatcher({
    ...shared,
    lifecycle,
    activations,
    departures,
    runs,
    endings,
    losses,
    interrupts,
    admission,
    suspicion,
  });
  const intake = new Intake({ ...shared, dispatcher, endings, interrupts, runs });
  const passivator = new Passivator({ ...shared, departures, threads, maxIdleAgents });
  const compactor = new Compactor({ ...shared, departures, dispatcher, quarantine, runs, compactAfterMs });
  const rescue = new Rescue({ ...shared, dispatcher, departures, lifecycle, endings, quarantine, runs, graceMs });
  const standIn: ReliefParts['standIn'] = (heldUp, starved) => foundations.threads().standIn(heldUp, starved);
  const relief = new Relief({ suspicion, dispatcher, activations, admission, standIn });
  const watchdog = new Watchdog<Execution>({
    threads: () => foundations.threads().all,
    table,
    time: liveTime,
    graceMs,
    inProgress: () => dispatcher.inProgress(),
    onTimeout: ({ session }) => interrupts.current(session, 'timeout'),
    onAbandon: (execution) => rescue.abandon(execution),
    onGiveUp: (thread, culprit) => track(rescue.giveUp(thread, culprit)),
    onLooked: (deaf) => relief.looked(deaf),
  });
  const listing = new Listing(store, directory, table);
  const registry = new SessionRegistry({
    ...shared,
    existence,
    lifecycle,
    dispatcher,
    intake,
    endings,
    interrupts,
    admission,
    passivator,
    listing,
    quarantine,
    maxIdleAgents,
  });
  const history = new HistoryPages(store);
  return {
    history,
    places,
    dispatcher,
    endings,
    interrupts,
    intake,
    passivator,
    compactor,
    rescue,
    watchdog,
    registry,
  };
}
