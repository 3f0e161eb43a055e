// The store thread's Piscina task: opens the store, answers main's calls, takes in the agent threads' journals, and ends
// when main closes it.

import { answerCalls } from '../../protocol/calls.js';
import { decodeEntry } from '../../protocol/codec.js';
import {
  STORE_CALLS,
  type StoreCalls,
  type StoreNote,
  type StoreTask,
  type StoredRun,
} from '../../protocol/control.js';
import { BatchEndpoint } from '../../protocol/endpoint.js';
import { isPassing, toWire } from '../../protocol/errors.js';
import { jsonSafe } from '../../protocol/json.js';
import type { EntryRow } from '../../protocol/journal.js';
import { SYNC_WITHIN_MS } from '../../protocol/limits.js';
import { StatusTable } from '../../protocol/status-table.js';
import { GroupCommitter, type WhenFull } from './committer.js';
import { holdDataDir, holdNames, type DataDir } from './data-dir.js';
import { storeError } from './sqlite-errors.js';
import { Links } from './links.js';
import { SqliteStore } from './sqlite-store.js';
import type { OpResult, Store, WriteOp, Written } from './store.js';

/** Resolves when main has closed the store. */
export async function serve(task: StoreTask): Promise<void> {
  const endpoint = new BatchEndpoint(task.port);
  let dir: DataDir | undefined;
  let releaseNames = (): Promise<void> => Promise.resolve();
  const table = new StatusTable(task.table);
  let store: Store;
  try {
    dir = holdDataDir(task.dataDir);
    releaseNames = await holdNames(task.dataDir, dir.databasePath);
    store = new SqliteStore(dir.databasePath, { onListChange: () => table.listChanges() });
  } catch (error) {
    dir?.release();
    await releaseNames();
    endpoint.note({ kind: 'startFailed', error: toWire(error) } satisfies StoreNote);
    endpoint.flush();
    return;
  }
  const server = new StoreServer(store, table, endpoint);
  answerCalls<StoreCalls>(server.calls, STORE_CALLS, endpoint);
  endpoint.note({ kind: 'ready' } satisfies StoreNote);
  await server.closed;
  dir.release();
  await releaseNames();
}

class StoreServer {
  readonly closed: Promise<void>;
  readonly #store: Store;
  readonly #endpoint: BatchEndpoint;
  readonly #committer: GroupCommitter;
  readonly #links: Links;
  readonly #watched = new Set<string>();
  /** What main is told after the batch. */
  #ended: StoredRun[] = [];
  #entries = new Map<string, EntryRow[]>();
  /**
   * The answers of its calls that write, refusals as well, in the order of their operations: what was refused because of an
   * operation before it (a deletion) is told behind that one's answer.
   */
  #answers: (() => void)[] = [];
  #purging: Promise<void> | null = null;
  #syncTimer: NodeJS.Timeout | null = null;
  #syncDue = false;
  #closing = false;
  #resolveClosed!: () => void;

  constructor(store: Store, table: StatusTable, endpoint: BatchEndpoint) {
    this.#store = store;
    this.#endpoint = endpoint;
    this.#committer = new GroupCommitter(store, {
      collect: () => this.#links.collect(),
      awaitMore: () => this.#links.awaitMore(),
      onCommit: (operations) => table.committed(operations),
      onBatch: () => this.#tell(),
      upkeep: () => this.#upkeep(),
      onFatal: (error) => {
        this.#note({ kind: 'fatal', error: toWire(error) });
        // What comes from now on is refused, one by one.
        this.#links.sleep();
      },
    });
    this.#links = new Links(store, this.#committer, table, (written) => this.#onWritten(written));
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#purge();
  }

  readonly calls: StoreCalls = {
    attach: (thread, port, ring) => this.#links.attach(thread, port, ring),
    detach: (thread) => this.#links.detach(thread),
    recover: (request) => this.#store.recover(request),
    create: async (record) => {
      await this.#write({ kind: 'create', record });
    },
    accept: async (request) => {
      const { accepted } = await this.#write({ kind: 'accept', ...request });
      return accepted!;
    },
    endRun: async (request) => {
      this.#links.takeInFor(request.sessionId);
      // What was taken in is before this in the queue: an outcome that the thread had posted stands.
      const { ended } = await this.#write({ kind: 'endRun', ...request }, 'keep');
      return ended!;
    },
    requeue: async (sessionId, runId, ifUnstarted) => {
      this.#links.takeInFor(sessionId);
      const { requeued } = await this.#write({ kind: 'requeue', sessionId, runId, ifUnstarted }, 'keep');
      return requeued ?? false;
    },
    release: async (sessionId, epoch, whenFull = 'keep') => {
      // Its thread may have died with something on its way.
      this.#links.takeInFor(sessionId);
      // What the activation did may wait for room on the disk, and comes before its release.
      await this.#write({ kind: 'release', sessionId, epoch }, whenFull);
      this.#links.forget(sessionId, epoch ?? undefined);
    },
    remove: (sessionId, at) => this.#remove({ kind: 'remove', sessionId, at }),
    erase: (sessionId, at) => this.#remove({ kind: 'remove', sessionId, at, erase: true }, 'keep'),
    update: async (sessionId, fields, at) => {
      const { updated } = await this.#write({ kind: 'update', sessionId, fields, at });
      return updated ?? null;
    },
    record: (sessionId) => this.#store.record(sessionId),
    page: (query) => this.#store.page(query),
    newest: (n, max) => this.#store.newest(n, max),
    cronCount: () => this.#store.cronCount(),
    messagesJson: (sessionId, options) => this.#messagesJson(sessionId, options),
    entries: (sessionId, from, limit) => this.#entriesOf(sessionId, from, limit),
    lastSeq: (sessionId) => this.#lastSeqOf(sessionId),
    run: (sessionId, runId) => this.#store.run(sessionId, runId),
    watch: (sessionId, on) => {
      if (on) this.#watched.add(sessionId);
      else this.#watched.delete(sessionId);
    },
    drain: () => this.#store.drain(),
    close: () => this.#close(),
  };

  async #remove(op: Extract<WriteOp, { kind: 'remove' }>, whenFull?: WhenFull): Promise<boolean> {
    const { sessionId } = op;
    this.#links.takeInFor(sessionId);
    const { removed } = await this.#write(op, whenFull);
    this.#links.forget(sessionId);
    this.#purge();
    return removed ?? false;
  }

  #write(op: WriteOp, whenFull: WhenFull = 'refuse'): Promise<Written> {
    return new Promise((resolve, reject) => {
      const done = (result: OpResult): void => {
        if ('error' in result) {
          this.#answers.push(() => reject(result.error));
          // It has failed for good, or tries a last time: no batch follows, after which this would be told.
          if (!this.#committer.isWorking) this.#tell();
          return;
        }
        // In the turn in which the threads' operations of the same commit are told, in whose order this one is.
        this.#links.publish(result.ok);
        this.#onWritten(result.ok, op.kind === 'endRun' || op.kind === 'accept');
        this.#answers.push(() => resolve(result.ok));
      };
      this.#committer.submit({ op, whenFull, done });
    });
  }

  #onWritten(written: Written, calledByMain = false): void {
    // Main has the outcome of a run that it ended itself as the answer of its call.
    if (written.ended && !calledByMain) this.#ended.push(written.ended);
    const { sessionId, entry } = written;
    if (!entry || sessionId === undefined || !this.#watched.has(sessionId)) return;
    const rows = this.#entries.get(sessionId);
    if (rows) rows.push(entry);
    else this.#entries.set(sessionId, [entry]);
  }

  #tell(): void {
    this.#links.tellAll();
    // Entries first: whoever is told that a run is over, also as the answer of a call, has been told what it appended.
    for (const [sessionId, rows] of this.#entries) this.#note({ kind: 'entries', sessionId, rows });
    if (this.#ended.length > 0) this.#note({ kind: 'ended', runs: this.#ended });
    for (const answer of this.#answers) answer();
    this.#ended = [];
    this.#entries.clear();
    this.#answers = [];
  }

  async #upkeep(): Promise<void> {
    if (this.#syncDue) {
      this.#syncDue = false;
      if (this.#store.unsynced) await this.#store.sync();
    }
    if (this.#store.unsynced) this.#syncSoon();
    if (!this.#store.upkeepDue) return;
    // Behind the answers of the batch: main's leave at the end of their microtask.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#store.upkeep();
  }

  /** If nothing else is committed meanwhile, which would make durable what is not. */
  #syncSoon(): void {
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = null;
      this.#syncDue = true;
      // Its turn in the queue is between two commits.
      this.#committer.submit({ op: null, whenFull: 'keep', done: () => undefined });
    }, SYNC_WITHIN_MS);
  }

  #note(note: StoreNote): void {
    this.#endpoint.note(note);
  }

  async #messagesJson(
    sessionId: string,
    options: { limit: number; before: number | null },
  ): Promise<Uint8Array | null> {
    const key = await this.#store.keyOf(sessionId);
    if (key === null) return null;
    const rows = await this.#store.entriesBefore(key, options.before, options.limit);
    // The first entry of a history has seq 1.
    const hasMore = rows.length > 0 && rows[0]!.seq > 1;
    const messages = rows.map((row) => ({
      ...decodeEntry(row.body),
      seq: row.seq,
      created_at: new Date(row.at).toISOString(),
    }));
    return new TextEncoder().encode(JSON.stringify({ messages, has_more: hasMore }, jsonSafe));
  }

  async #entriesOf(sessionId: string, from: number, limit: number): Promise<EntryRow[] | null> {
    const key = await this.#store.keyOf(sessionId);
    return key === null ? null : this.#store.entries(key, from, limit);
  }

  async #lastSeqOf(sessionId: string): Promise<number | null> {
    const key = await this.#store.keyOf(sessionId);
    return key === null ? null : this.#store.lastSeq(key);
  }

  /** Removes what deleted sessions left, a little at a time, between the commits. */
  #purge(): void {
    this.#purging ??= (async () => {
      try {
        while (!this.#closing) {
          await this.#committer.settled();
          if (!(await this.#store.purge())) return;
          await new Promise((resolve) => setImmediate(resolve));
        }
      } catch (error) {
        // A full disk refuses even deleting, a busy database anything: the next deletion or start goes on with it.
        const failure = storeError(error);
        if (!isPassing(failure)) this.#committer.fail(failure);
      } finally {
        this.#purging = null;
      }
    })();
  }

  async #close(): Promise<boolean> {
    this.#closing = true;
    await this.#purging;
    this.#links.collect();
    if (this.#syncTimer) clearTimeout(this.#syncTimer);
    try {
      const complete = await this.#committer.close();
      // Its last try makes no batch.
      this.#tell();
      await this.#store.close();
      return complete;
    } finally {
      // The task ends after this call's answer is on its way.
      setImmediate(() => {
        this.#endpoint.flush();
        this.#resolveClosed();
      });
    }
  }
}
