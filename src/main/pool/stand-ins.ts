// Threads beyond the configured number. A run that does not mind its interrupt has its thread to itself until its grace is
// used up; for that while another thread stands in for it, so that nobody else waits for its end.
//
//   held up, and somebody waits -> a stand-in starts -> no longer needed: closed to agents, emptied, shut down
//
// There are never more than STAND_INS_MAX_THREADS, nor more than twice the configured threads in all.

import type { CabanaError } from '../../protocol/errors.js';
import {
  STAND_IN_EMPTY_INTERVAL_MS,
  STAND_IN_KEEP_MS,
  STAND_IN_RETRY_MS,
  STAND_INS_MAX_THREADS,
} from '../../protocol/limits.js';
import { liveTime } from '../clock.js';
import type { Log } from '../log.js';
import { Tasks } from '../tasks.js';
import type { AgentThread } from './agent-thread.js';
import type { Incarnations } from './incarnations.js';
import type { SpareThreads } from './spare-threads.js';
import { standInsWanted, type StandInNeeds } from './verdict.js';

export interface StandInsParts {
  /** The configured threads; theirs are the numbers below it. */
  count: number;
  incarnations: Incarnations;
  spares: SpareThreads;
  log: Log;
  /** One is ready for work. */
  onReady: () => void;
  onDeath: (thread: AgentThread, reason: CabanaError | null) => void;
  /** `open` is another now. */
  onChange: () => void;
  /** Moves what lives in a thread elsewhere, as far as it can be moved now. True: nobody lived there. */
  empty: (thread: AgentThread) => Promise<boolean>;
  /** Takes charge of work that close() does not wait for: it may wait for locks, and for room on the disk. */
  track: (task: Promise<unknown>) => void;
}

export class StandIns {
  readonly #parts: StandInsParts;
  readonly #max: number;
  readonly #all = new Set<AgentThread>();
  /** Those that are being emptied, and when each was before. */
  readonly #emptying = new Set<AgentThread>();
  readonly #emptiedAt = new WeakMap<AgentThread, number>();
  /** Those whose end is in order. */
  readonly #ended = new WeakSet<AgentThread>();
  /** Until when there were as many as are wanted, or fewer. */
  #neededAt = 0;
  /** One has failed to start: the next try is not before this instant. */
  #notBefore = 0;
  #closing = false;
  readonly #tasks: Tasks;

  constructor(parts: StandInsParts) {
    this.#parts = parts;
    this.#max = Math.min(parts.count, STAND_INS_MAX_THREADS);
    this.#tasks = new Tasks((error) => parts.log.error({ err: error }, 'a stand-in thread is in trouble'));
  }

  get all(): Iterable<AgentThread> {
    return this.#all;
  }

  /** Those that agents may be put into. */
  get open(): AgentThread[] {
    return [...this.#all].filter(({ state }) => state === 'starting' || state === 'up');
  }

  /**
   * Has as many as are wanted now; called at each look of the watchdog, in real time like that.
   * @param needs how many threads are held up (open stand-ins count as well) or dead, and whether a run waits for a
   * thread
   */
  provide(needs: Pick<StandInNeeds, 'heldUp' | 'dead' | 'starved'>): void {
    const { open } = this;
    const wanted = standInsWanted({ ...needs, open: open.length, max: this.#max });
    // One after the other: the first is there sooner than if all of them loaded their agents at the same time.
    if (open.length < wanted && open.every((thread) => thread.state === 'up')) this.#addOne();
    if (open.length <= wanted) this.#neededAt = liveTime.now();
    if (liveTime.now() - this.#neededAt >= STAND_IN_KEEP_MS) {
      const up = open.filter(({ state }) => state === 'up').sort((a, b) => a.sessions - b.sessions);
      for (const thread of up.slice(0, open.length - wanted)) thread.retire();
      this.#parts.onChange();
    }
    for (const thread of this.#all) if (thread.retiring) this.#takeLeave(thread);
  }

  #addOne(): void {
    for (const thread of this.#all) {
      if (!thread.retiring || thread.cpuBusy) continue;
      thread.stay();
      this.#parts.onChange();
      this.#parts.onReady();
      return;
    }
    const no = this.#freeNumber();
    if (no === null || liveTime.now() < this.#notBefore) return;
    // Urgent: at the agents' priority it would start behind the very threads it stands in for.
    const thread = this.#parts.incarnations.make(no, this.#parts.spares.take({ urgent: true }));
    this.#all.add(thread);
    this.#parts.onChange();
    this.#tasks.track(this.#live(thread));
  }

  #freeNumber(): number | null {
    const taken = new Set(Array.from(this.#all, ({ no }) => no));
    for (let no = this.#parts.count; no < this.#parts.count + this.#max; no++) if (!taken.has(no)) return no;
    return null;
  }

  /** From its start to its end, after which its number is free. */
  async #live(thread: AgentThread): Promise<void> {
    const { incarnations, spares, onReady, onDeath, onChange } = this.#parts;
    await this.#greet(thread);
    if (thread.alive) {
      onReady();
      // Only now, so that it does not compete with this one: whoever is held up may have to be replaced.
      spares.provide();
    }
    const reason = await thread.death;
    if (!this.#closing) await incarnations.detach(thread.no);
    this.#all.delete(thread);
    onChange();
    if (!this.#closing && !this.#ended.has(thread)) onDeath(thread, reason);
  }

  async #greet(thread: AgentThread): Promise<void> {
    const { incarnations, log } = this.#parts;
    try {
      await incarnations.greet(thread);
    } catch (error) {
      this.#notBefore = liveTime.now() + STAND_IN_RETRY_MS;
      log.warn({ err: error, thread: thread.no }, 'a stand-in thread could not be started');
      await thread.terminate();
    }
  }

  #takeLeave(thread: AgentThread): void {
    // Whoever puts something into a thread counts it in the same turn; into a retiring one nobody does.
    if (thread.sessions === 0 && !thread.cpuBusy) return this.#end(thread);
    const now = liveTime.now();
    if (this.#emptying.has(thread) || now - (this.#emptiedAt.get(thread) ?? 0) < STAND_IN_EMPTY_INTERVAL_MS) return;
    this.#emptying.add(thread);
    this.#parts.track(this.#empty(thread));
  }

  async #empty(thread: AgentThread): Promise<void> {
    try {
      const nobody = await this.#parts.empty(thread);
      // No session lives here any more; what is still counted is an abandoned run that does not end. (A session about
      // to come up here is told that the thread has ended, and comes up elsewhere.)
      if (nobody && thread.retiring && !thread.cpuBusy) this.#end(thread);
    } finally {
      this.#emptying.delete(thread);
      this.#emptiedAt.set(thread, liveTime.now());
    }
  }

  #end(thread: AgentThread): void {
    this.#ended.add(thread);
    thread.condemn();
    this.#tasks.track(this.#parts.incarnations.shutDown(thread));
  }

  /** Shuts all of them down. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#all].map((thread) => this.#parts.incarnations.shutDown(thread)));
    await this.#tasks.settled();
  }
}
