// A thread is given up: its neighbours are brought up elsewhere under new epochs first, so that they answer at once; then
// it is terminated. (thread-group.ts replaces it.)

import { CabanaError } from '../../protocol/errors.js';
import {
  EVACUATE_IN_FLIGHT_AGENTS,
  HANG_MAX_MS,
  RESCUE_FIRST_MS,
  RESCUE_IN_FLIGHT_AGENTS,
} from '../../protocol/limits.js';
import { monotonic, systemClock, within, type Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { AgentThread } from '../pool/agent-thread.js';
import type { Ending } from '../pool/verdict.js';
import { inFlight } from '../tasks.js';
import type { Departures } from './lifecycle/departures.js';
import type { Lifecycle } from './lifecycle/lifecycle.js';
import type { Dispatcher } from './runs/dispatcher.js';
import type { Endings } from './runs/endings.js';
import type { Execution } from './runs/execution.js';
import type { Quarantine } from './runs/quarantine.js';
import type { Directory } from './sessions/directory.js';
import type { RunTable } from './sessions/run-table.js';
import type { Session } from './sessions/session.js';

export interface RescueParts {
  directory: Directory;
  dispatcher: Dispatcher;
  departures: Departures;
  lifecycle: Lifecycle;
  endings: Endings;
  quarantine: Quarantine;
  runs: RunTable;
  clock: Clock;
  log: Log;
  graceMs: number;
}

export class Rescue {
  readonly #parts: RescueParts;
  /** Threads that were given up for a run or compaction: whoever had that in hand holds its session to account. */
  readonly #judged = new WeakSet<AgentThread>();

  constructor(parts: RescueParts) {
    this.#parts = parts;
  }

  /**
   * A thread has died by itself. An idle session whose timer or promise did it is held to account like a run. (One whose
   * hook did it on the way out of memory: departures.ts.)
   */
  async threadDied(thread: AgentThread, reason: CabanaError): Promise<void> {
    const { directory, departures, quarantine } = this.#parts;
    const slot = this.#judged.has(thread) ? null : thread.culpritSlot;
    const culprit = slot === null ? undefined : idleAt(directory, thread, slot);
    await departures.threadDied(thread);
    if (culprit) await quarantine.strike(culprit, reason.message);
  }

  /** Ends a run that ignores its interrupt, on a thread that is well and has others to serve. */
  abandon(execution: Execution): void {
    execution.run.lose({ isCulprit: true, error: this.#unresponsive(execution) });
  }

  /** @param deaf whose interrupt was ignored; null: the thread hangs, in whatever it has entered */
  async giveUp(thread: AgentThread, deaf: Execution | null): Promise<void> {
    const { directory, dispatcher, log } = this.#parts;
    const culprit = deaf ?? this.#enteredOn(thread);
    if (culprit) this.#judged.add(thread);
    // Of the runs, if none of them is known to be: false, if it is known whose code hangs, though that is no run.
    const othersAreCulprits = thread.enteredSlot === null ? null : false;
    // From here on nothing is put there, and its sessions count as not live: in the same turn as the verdict.
    thread.condemn(culprit?.session.place?.slot);
    const error = deaf ? this.#unresponsive(deaf) : hanging(thread, culprit);
    log.error({ err: error, thread: thread.no, sessionId: culprit?.session.id }, 'an agent thread is given up');
    for (const execution of [...dispatcher.inProgress()]) {
      // What waits there is not lost: it is told of the thread's death, and had elsewhere.
      if (execution.thread !== thread || !execution.hasBegun) continue;
      const isCulprit = culprit ? execution === culprit : execution.waits ? false : othersAreCulprits;
      execution.run.lose({ isCulprit, error });
    }
    const neighbours = [...directory.all()].filter((s) => s.place?.thread === thread && s.state === 'idle');
    const rescued = this.#bringUp(neighbours);
    await within(systemClock, RESCUE_FIRST_MS, rescued);
    await thread.terminate();
    await rescued;
  }

  /**
   * The store takes nothing more of this activation (a bug, or an agent that got between its entries): it ends, with the
   * run that it has and those whose outcomes were refused, and the session comes back from disk.
   */
  async refused(session: Session, epoch: number, refusal: Error): Promise<void> {
    const { departures, endings, runs, log } = this.#parts;
    if (session.place?.epoch !== epoch) return;
    const error = refusal instanceof CabanaError ? refusal : new CabanaError('INTERNAL', refusal.message);
    log.error({ err: error, sessionId: session.id }, 'the store refused what an agent wrote; the agent is given up');
    session.current?.lose({ isCulprit: null, error });
    await session.lock(async () => {
      const ending: Ending = { state: 'failed', error: error.message, code: error.code };
      for (const run of runs.of(session.id)) if (run.awaitsStore) await endings.endUnstarted(session, run, ending);
      if (session.place?.epoch === epoch && session.state === 'idle') departures.abandon(session, error.message);
    });
    this.#parts.directory.dropIfUnused(session);
  }

  /**
   * Moves the idle sessions of a thread that is to end elsewhere. The others follow at a later call.
   * @returns whether nobody lived there any more
   */
  async empty(thread: AgentThread): Promise<boolean> {
    const { directory, dispatcher, clock } = this.#parts;
    const there = [...directory.all()].filter(({ place }) => place?.thread === thread);
    if (there.length === 0) return ![...dispatcher.inProgress()].some((execution) => execution.thread === thread);
    const now = monotonic(clock);
    const idle = there.filter(({ state, saveRetryAt }) => state === 'idle' && saveRetryAt <= now);
    await inFlight(idle, EVACUATE_IN_FLIGHT_AGENTS, (session) => this.#move(session, thread));
    return false;
  }

  /** Its runs wait meanwhile, so that it is not left cold between the two steps, nor begins another there. */
  async #move(session: Session, from: AgentThread): Promise<void> {
    const { dispatcher, departures, lifecycle, log } = this.#parts;
    await dispatcher.withhold(session, async () => {
      try {
        if (await departures.evacuate(session, from)) await lifecycle.ensure(session.id);
      } catch (error) {
        // It could not be saved, and is tried again; or it is on disk and comes back when it is used.
        log.warn({ err: error, sessionId: session.id }, 'a session could not be moved');
      }
    });
    this.#parts.directory.dropIfUnused(session);
  }

  /** The run whose code the thread has called, and which has not given the event loop a turn since; null: none. */
  #enteredOn(thread: AgentThread): Execution | null {
    const slot = thread.enteredSlot;
    if (slot === null) return null;
    for (const execution of this.#parts.dispatcher.inProgress()) {
      if (execution.thread === thread && execution.session.place?.slot === slot) return execution;
    }
    return null;
  }

  /** Each under a new epoch: what the condemned thread still sends for it is refused. */
  async #bringUp(neighbours: readonly Session[]): Promise<void> {
    const { lifecycle, log } = this.#parts;
    await inFlight(neighbours, RESCUE_IN_FLIGHT_AGENTS, async ({ id }) => {
      try {
        await lifecycle.ensure(id);
      } catch (error) {
        if (this.#parts.dispatcher.draining) return;
        // It is on disk and comes back when it is used.
        log.warn({ err: error, sessionId: id }, 'a neighbour could not be brought up elsewhere yet');
      }
    });
  }

  #unresponsive({ run }: Execution): CabanaError {
    const ms = this.#parts.graceMs;
    return new CabanaError('AGENT_UNRESPONSIVE', `the run did not stop within ${ms} ms of its interrupt`, {
      cause: run.interruptReason,
    });
  }
}

function hanging({ no }: AgentThread, culprit: Execution | null): CabanaError {
  if (!culprit) return new CabanaError('THREAD_DIED', `thread ${no} hangs`);
  return new CabanaError('AGENT_UNRESPONSIVE', `the run held its thread for ${HANG_MAX_MS} ms without a pause`);
}

function idleAt(directory: Directory, thread: AgentThread, slot: number): Session | undefined {
  for (const session of directory.all()) {
    if (session.state === 'idle' && session.place?.thread === thread && session.place.slot === slot) return session;
  }
  return undefined;
}
