// One session in memory: its state, where its agent lives, what waits for it, and the mutex of its lifecycle.

import { Mutex } from 'async-mutex';
import type { SessionState } from '../../../protocol/session-state.js';
import { stateNumber } from '../../../protocol/session-state.js';
import { statusOf, type SessionRecord, type SessionStats, type SessionStatus } from '../../../protocol/session.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import { monotonic, type Clock } from '../../clock.js';
import type { AgentThread, Revocable } from '../../pool/agent-thread.js';
import { Mailbox } from './mailbox.js';
import type { Run } from './run.js';
import type { Slot } from './slots.js';
import { assertTransition } from './state.js';

/** One incarnation of the agent in a thread. */
export interface ActivationPlace extends Slot {
  thread: AgentThread;
  epoch: number;
}

/** What update() may set, and what agents report: shown in the row instead of what is stored. */
export type LiveFields = Partial<Omit<SessionStats, 'totalTasks'>> & { name?: string | null };

export class Session {
  readonly id: string;
  readonly #table: StatusTable;
  #state: SessionState = 'cold';
  // Made when they are needed: a hundred thousand idle sessions have neither.
  #mutex: Mutex | null = null;
  #mailbox: Mailbox | null = null;
  #lastRunFailed = false;
  #quarantine: string | null = null;
  /** Told since it was brought up last, or was begun to be: the record that its restore has read may be older. */
  #isJudged = false;
  #isNamed = false;

  /** The stored record as it was when the session came into memory; null while it is cold. */
  record: SessionRecord | null = null;
  /** Where the agent lives; null: nowhere. */
  place: ActivationPlace | null = null;
  /** The run being executed or about to be. */
  current: Run | null = null;
  /** The oldest waiting run has been offered to the session's thread, which may begin it at any time. */
  offer: Revocable | null = null;
  /** The thread that is kept for its due run, until that begins. */
  reserved: { readonly thread: AgentThread; readonly load: 'cpu' | 'io' } | null = null;
  /** The restore that every caller waits on. */
  restoring: Promise<boolean> | null = null;
  /** Why it is failed. */
  reason: string | null = null;
  /** The profile, as soon as it is known. */
  profile: string | null = null;
  /** Whether everything since the last snapshot is in it: then another thread can take over without asking this one. */
  clean = true;
  /** The compaction in progress. */
  compaction: { interrupt(): void } | null = null;
  /** Number of withhold() calls in progress. Above 0, the runs stay in the mailbox instead of occupying a thread. */
  held = 0;
  /** The number of its last run that started. */
  startedNo = 0;
  /** Compacted since its last run. What an earlier process ran is not known: it waits for the next run. */
  compacted = true;
  /** Its last compaction had to step back: not before this instant of the clock of durations is it tried again. */
  postponed: { readonly until: number; readonly waitMs: number } | null = null;
  crashes = 0;
  interrupts = 0;
  migrations = 0;
  watchers = 0;
  /** Set once and for good: nothing may bring the session back. */
  deleted = false;
  /** What the activation in memory has told, or the host of its runs; and the newest epoch that it was heard of. */
  #told: LiveFields = {};
  #toldEpoch = 0;
  /** When the name that is shown was given, by instant.ts. */
  #namedAt = 0;
  /** What update() has set: it outlives activations, until something newer of the same name is told. */
  #set: LiveFields | null = null;
  updatedAt: number;
  /** When the last thing was asked of it: in Unix milliseconds, as it is shown; and by the clock of durations. */
  usedAtUnixMs: number;
  usedAtMonotonicMs: number;
  /** The next attempt to save it is not before this instant of the clock of durations; a save has failed. */
  saveRetryAt = 0;
  saveFailures = 0;

  constructor(id: string, table: StatusTable, clock: Clock) {
    this.id = id;
    this.#table = table;
    this.updatedAt = this.usedAtUnixMs = clock.now();
    this.usedAtMonotonicMs = monotonic(clock);
  }

  get state(): SessionState {
    return this.#state;
  }

  get status(): SessionStatus {
    return statusOf(this.#state, this.#lastRunFailed);
  }

  /** An agent is in memory and its thread is alive. */
  get isLive(): boolean {
    const up = this.#state === 'idle' || this.#state === 'running' || this.#state === 'interrupting';
    return up && this.place !== null && this.place.thread.alive;
  }

  get isRunning(): boolean {
    return this.#state === 'running' || this.#state === 'interrupting';
  }

  /** THE setter of the state: checks the table of state.ts, and keeps the status table and its counts in step. */
  moveTo(to: SessionState, reason: string | null = null): void {
    assertTransition(this.#state, to);
    this.#change(() => {
      this.#state = to;
      this.reason = to === 'failed' ? reason : null;
    });
  }

  /** Detaches the agent, whatever that is doing: the session becomes cold, in one turn. @returns where the agent was */
  detach(): ActivationPlace | null {
    const { place } = this;
    if (this.#state === 'running') this.moveTo('interrupting');
    if (this.#state === 'idle' || this.#state === 'interrupting') this.moveTo('flushing');
    this.place = null;
    if (this.#state !== 'cold') this.moveTo('cold');
    return place;
  }

  /** What makes an idle session read `error`, until its next run starts. */
  set lastRunFailed(failed: boolean) {
    this.#change(() => (this.#lastRunFailed = failed));
  }

  get lastRunFailed(): boolean {
    return this.#lastRunFailed;
  }

  /** Why it takes no more runs; null: it does. */
  get quarantine(): string | null {
    return this.#quarantine;
  }

  /** It was quarantined, or cleared (null). */
  judge(why: string | null): void {
    this.#quarantine = why;
    this.#isJudged = true;
  }

  /**
   * Its restore has brought it up with this record, under this epoch. Whoever cleared, quarantined or named it while that
   * went on has told it here, and need not have been before the restore in the store: that counts, not the record.
   */
  restored(record: SessionRecord, epoch: number): void {
    this.record = record;
    this.showsFrom(epoch);
    if (!this.#isJudged) this.#quarantine = record.quarantine;
    this.#isJudged = this.#isNamed = false;
  }

  #change(change: () => void): void {
    const before = this.#counted();
    change();
    this.#table.count(before, this.#counted());
    if (this.place) this.#table.set('main', this.place.slot, 'state', stateNumber(this.#state));
  }

  /** Shows the counters of its troubles in its row of the table. */
  publishCounters(): void {
    if (!this.place) return;
    this.#table.set('main', this.place.slot, 'crashes', this.crashes);
    this.#table.set('main', this.place.slot, 'interrupts', this.interrupts);
    this.#table.set('main', this.place.slot, 'migrations', this.migrations);
  }

  #counted() {
    return this.#state === 'cold' ? null : { state: this.#state, status: this.status };
  }

  /** Runs fn alone among what activates, passivates, deletes and starts runs of this session. */
  lock<T>(fn: () => Promise<T>): Promise<T> {
    // An offered run would begin without the lock. From here on it has begun, or does not.
    this.offer?.withdraw();
    this.#mutex ??= new Mutex();
    return this.#mutex.runExclusive(fn);
  }

  /** What is shown instead of what is stored. */
  get live(): Readonly<LiveFields> {
    return this.#set ? { ...this.#told, ...this.#set } : this.#told;
  }

  /** The activation of this epoch tells something: its restore may, before main knows of the epoch; a superseded one is not heard. */
  hear(epoch: number, fields: LiveFields): void {
    if (epoch < this.#toldEpoch) return;
    this.showsFrom(epoch);
    this.tell(fields);
  }

  /** The same of a name that the agent gave at this instant (instant.ts). */
  hearName(epoch: number, name: string, at: number): void {
    if (epoch < this.#toldEpoch) return;
    this.showsFrom(epoch);
    this.named(name, at);
  }

  /**
   * A name was given at this instant, by the agent or by a user. Of two the later one is shown, whichever is heard first:
   * a note of the agent may be long on its way. The store decides by the same instants.
   */
  named(name: string | null, at: number): void {
    if (at < this.#namedAt) return;
    this.#namedAt = at;
    this.#isNamed = this.#state === 'restoring';
    this.tell({ name });
  }

  /** From now on shows what the activation of this epoch tells. */
  showsFrom(epoch: number): void {
    if (epoch !== this.#toldEpoch) this.#told = this.#isNamed ? { name: this.#told.name ?? null } : {};
    this.#toldEpoch = epoch;
  }

  tell(fields: LiveFields): void {
    Object.assign(this.#told, fields);
    if (this.#set) for (const field of Object.keys(fields)) delete this.#set[field as keyof LiveFields];
  }

  /** See SessionRegistry.update(). */
  show(fields: LiveFields): void {
    this.#set = { ...this.#set, ...fields };
  }

  get isLocked(): boolean {
    return this.#mutex?.isLocked() ?? false;
  }

  get mailbox(): Mailbox {
    return (this.#mailbox ??= new Mailbox());
  }

  get queued(): number {
    return this.#mailbox?.size ?? 0;
  }

  /** The run in progress; null also in the moment between its outcome being told and its place being given up. */
  get runId(): string | null {
    return this.current && !this.current.isOver ? this.current.id : null;
  }

  /** Nothing runs, waits, restores or listens: the session may leave memory. */
  get isUnused(): boolean {
    return this.runId === null && this.queued === 0 && this.watchers === 0 && this.restoring === null;
  }
}
