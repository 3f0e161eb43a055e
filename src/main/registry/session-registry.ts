// The session registry: every method that the rest of the service, and an embedder, knows sessions by.

import type { Remote } from '../../protocol/calls.js';
import type { SessionUpdate, StoreCalls } from '../../protocol/control.js';
import { CabanaError, assertFields } from '../../protocol/errors.js';
import { assertSessionId } from '../../protocol/ids.js';
import { RESTORE_DEFAULT_SESSIONS, RESTORE_IN_FLIGHT_SESSIONS, RESTORE_MAX_SESSIONS } from '../../protocol/limits.js';
import {
  sourceOf,
  type AgentProfile,
  type ListQuery,
  type NewSession,
  type SessionRow,
  type SessionSource,
  type SessionStatus,
} from '../../protocol/session.js';
import type { StatusTable } from '../../protocol/status-table.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { inFlight } from '../tasks.js';
import type { Existence } from './lifecycle/existence.js';
import type { Lifecycle } from './lifecycle/lifecycle.js';
import { eachLive, type LiveAgentVisitor } from './lifecycle/live-agents.js';
import type { Passivator } from './lifecycle/passivator.js';
import { checkName, checkPinned, newRecord } from './new-session.js';
import type { Admission } from './runs/admission.js';
import type { Dispatcher } from './runs/dispatcher.js';
import type { Endings } from './runs/endings.js';
import type { Intake } from './runs/intake.js';
import type { Interrupts } from './runs/interrupts.js';
import type { Quarantine } from './runs/quarantine.js';
import type { Directory } from './sessions/directory.js';
import type { LiveFields, Session } from './sessions/session.js';
import type { Listing, SessionPage } from './views/listing.js';
import { entryOf, summaryOf, type SessionEntry, type SessionSummary } from './views/session-view.js';

export interface RegistryParts {
  directory: Directory;
  existence: Existence;
  lifecycle: Lifecycle;
  dispatcher: Dispatcher;
  intake: Intake;
  endings: Endings;
  interrupts: Interrupts;
  admission: Admission;
  passivator: Passivator;
  listing: Listing;
  quarantine: Quarantine;
  store: Remote<StoreCalls>;
  table: StatusTable;
  profiles: ReadonlyMap<string, AgentProfile>;
  clock: Clock;
  log: Log;
  maxIdleAgents: number;
}

export class SessionRegistry {
  readonly #parts: RegistryParts;

  constructor(parts: RegistryParts) {
    this.#parts = parts;
  }

  /**
   * Creates a session and brings its agent up, idle. While every thread is busy the agent is left on disk instead, and
   * comes up when it is first used.
   * @returns the id
   * @throws CabanaError SESSION_ID_INVALID, INVALID_ARGUMENT, UNKNOWN_PROFILE, SESSION_EXISTS, RESTORE_FAILED (its start
   * threw; nothing is left of it), STORE_FULL, HOST_DRAINING
   */
  async create(fields: NewSession): Promise<string> {
    this.#parts.intake.assertOpen();
    const record = newRecord(fields, this.#parts.profiles, this.#parts.clock.now());
    await this.#parts.existence.create(record, (session) => {
      this.#parts.admission.withdraw(session);
      this.#parts.endings.sessionErased(session);
    });
    return record.sessionId;
  }

  /**
   * True when the session is live, loading it from the store if need be; false if it exists nowhere. Any number of
   * callers at once share one restore, and none sees a half-built agent; other sessions do not wait for it.
   * @throws the restore's error, to every caller; the next call tries again
   */
  ensure(id: string): Promise<boolean> {
    return this.#parts.lifecycle.ensure(id);
  }

  /**
   * Brings up the newest n sessions of each source: RESTORE_MAX_SESSIONS in all at most, or n, if that is more. Those that
   * cannot be restored are logged and left on disk.
   * @returns the ids that are live now and were not before
   */
  async restoreFromDisk(options: { n?: number } = {}): Promise<string[]> {
    assertFields(options, 'options');
    const { n = RESTORE_DEFAULT_SESSIONS } = options;
    if (!Number.isInteger(n) || n < 0) throw new CabanaError('INVALID_ARGUMENT', 'n is a count');
    const { store, directory, dispatcher, log } = this.#parts;
    // Sources are the clients' text: there may be as many as sessions.
    const ids = n === 0 ? [] : await store.newest(n, Math.max(n, RESTORE_MAX_SESSIONS));
    const restored = new Set<string>();
    await inFlight(ids, RESTORE_IN_FLIGHT_SESSIONS, async (id) => {
      // A host that closes meanwhile needs none of them.
      if (dispatcher.draining || directory.get(id)?.isLive) return;
      try {
        if (await this.ensure(id)) restored.add(id);
      } catch (error) {
        if (!dispatcher.draining) log.warn({ err: error, sessionId: id }, 'a session could not be restored at start');
      }
    });
    return ids.filter((id) => restored.has(id));
  }

  /** A copy of the runtime entry; undefined if the session is not in memory. */
  get(id: string): SessionEntry | undefined {
    const session = this.#parts.directory.get(id);
    return session && entryOf(session);
  }

  /**
   * Merges runtime fields into the entry and stamps updatedAt; false if unknown. They are shown in rows until something
   * newer is told, and neither stored nor searched (edit() changes the stored name). Totals and latency are the agent's.
   */
  update(id: string, fields: LiveFields): boolean {
    const session = this.#parts.directory.get(id);
    if (!session) return false;
    session.show(fields);
    session.updatedAt = this.#parts.clock.now();
    return true;
  }

  /**
   * Changes what is stored of a session: its name, or whether it is pinned.
   * @returns the new row; undefined if there is no such session
   * @throws CabanaError INVALID_ARGUMENT, STORE_FULL
   */
  async edit(id: string, fields: Pick<SessionUpdate, 'name' | 'pinned'>): Promise<SessionRow | undefined> {
    assertSessionId(id);
    assertFields(fields, 'fields', ['name', 'pinned']);
    const checked: SessionUpdate = {};
    if (fields.name !== undefined) checked.name = checkName(fields.name);
    if (fields.pinned !== undefined) checked.pinned = checkPinned(fields.pinned);
    const now = this.#parts.clock.now();
    const updated = await this.#parts.store.update(id, checked, now);
    const session = this.#parts.directory.get(id);
    if (updated && session) {
      if (checked.name !== undefined) session.named(checked.name, updated.instant);
      // A run may have ended meanwhile.
      session.updatedAt = Math.max(session.updatedAt, now);
    }
    return updated ? this.snapshot(id) : undefined;
  }

  /** A page of the list: see ListQuery. @throws CabanaError INVALID_ARGUMENT */
  list(query: ListQuery = {}): Promise<SessionPage> {
    return this.#parts.listing.page(query);
  }

  /** The one row that list() would give, without listing; undefined if there is no such session on disk. */
  async snapshot(id: string): Promise<SessionRow | undefined> {
    assertSessionId(id);
    return this.#parts.listing.row(id);
  }

  /** Live figures of a session in memory, read without a message; undefined otherwise. */
  sessionSummary(id: string): SessionSummary | undefined {
    const session = this.#parts.directory.get(id);
    return session?.isLive ? summaryOf(session, session.place!.slot, this.#parts.table) : undefined;
  }

  /** Sessions whose source is cron, on disk, unpaged. */
  cronCount(): Promise<number> {
    return this.#parts.store.cronCount();
  }

  /** Sessions in memory with this status: one atomic load, whatever their number and whatever the threads do. */
  countByStatus(status: SessionStatus): number {
    return this.#parts.table.countByStatus(status);
  }

  /**
   * Deletes a session for good: out of the registry, its run interrupted with "Session deleted", a tombstone on disk.
   * After this has resolved nothing brings it back: no late save, no timer, no restore.
   * @returns false if there is no such session
   * @throws CabanaError SESSION_ID_INVALID, STORE_FULL (it is still there then)
   */
  async delete(id: string): Promise<boolean> {
    assertSessionId(id);
    const { interrupts, endings, existence, admission } = this.#parts;
    // Before anything is awaited: whoever holds the session's lock for its run is to let go of it soon.
    interrupts.request(id, undefined, 'deleted');
    this.#parts.directory.get(id)?.compaction?.interrupt();
    return existence.remove(id, (session) => {
      admission.withdraw(session);
      endings.sessionDeleted(session);
    });
  }

  /** Lets a quarantined session run again. False: there is no such session. */
  async clearQuarantine(id: string): Promise<boolean> {
    assertSessionId(id);
    return this.#parts.quarantine.clear(id);
  }

  /** Whether the session is in the registry (in memory). */
  exists(id: string): boolean {
    const session = this.#parts.directory.get(id);
    return session !== undefined && session.state !== 'cold';
  }

  /**
   * Runs fn with exclusive access to the raw entry: nothing activates, passivates, deletes or starts a run meanwhile. So fn
   * must not await anything of the same session (ensure(), delete(), a run's result): that waits for fn.
   */
  async withSession<T>(id: string, fn: (session: Session) => T | Promise<T>): Promise<T | undefined> {
    const session = this.#parts.directory.get(id);
    if (!session || session.state === 'cold') return undefined;
    const { dispatcher, directory } = this.#parts;
    try {
      return await dispatcher.withhold(session, () =>
        session.lock(async () => (session.deleted ? undefined : fn(session))),
      );
    } finally {
      directory.dropIfUnused(session);
    }
  }

  /** Passivates sessions idle for longer than 24 h; never one that is running, queued or watched. @returns their ids */
  cleanupStale(): Promise<string[]> {
    return this.#parts.passivator.cleanupStale();
  }

  get maxRunningAgents(): number {
    return this.#parts.admission.maxRunningAgents;
  }

  get maxIdleAgents(): number {
    return this.#parts.maxIdleAgents;
  }

  /** Whether as many agents run as may. */
  runningFull(): boolean {
    return this.#parts.admission.full;
  }

  /** Passivates the least recently used idle agents beyond maxIdleAgents: durable first, then released. @returns their ids */
  evictExcessIdle(): Promise<string[]> {
    return this.#parts.passivator.evictExcessIdle();
  }

  /**
   * Calls fn for every session with an agent in memory, all at once, and resolves when all calls have. The ids are taken
   * first, so that changes meanwhile do not disturb it; fn runs outside any lock and may do slow I/O.
   * @throws AggregateError of what the calls threw, after all of them have ended
   */
  eachLiveAgent(fn: LiveAgentVisitor): Promise<void> {
    return eachLive(this.#parts.directory, fn);
  }

  /** The source of a record: missing is `manual`; `system` is an old name for `setup`. */
  sourceOf(record: { source?: string | null }): SessionSource {
    return sourceOf(record);
  }
}
