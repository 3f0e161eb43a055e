// Whether the store syncs what it acknowledges. A benchmark of a store that does not would be quick and wrong, and time
// alone cannot tell: on a quick disk a sync takes less than the way to the thread and back.
//
// Whether a commit is synced is a setting of its connection, which the store keeps to itself and may change from one
// commit to the next. So a store of its own commits operations of every kind here, and at each COMMIT its connection is
// asked.
//
// A baseline that does not sync would be as wrong: of one that writes a plain file, its syncs are counted.

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import Sqlite, { type Database, type Statement } from 'better-sqlite3';
import { encodeEntry, encodeState } from '../src/protocol/codec.js';
import { emptyStats } from '../src/protocol/session.js';
import { SqliteStore } from '../src/worker/store/sqlite-store.js';
import type { WriteOp } from '../src/worker/store/store.js';

/** FULL and EXTRA: in WAL mode, from FULL on each commit is synced. */
export const SYNCED_FROM = 2;

const COMMIT = /^\s*(COMMIT|END)\b/i;

let answer: Promise<string | null> | null = null;

/**
 * Says what is wrong; null: every commit that must be synced is. Asked once a process.
 * @param folder makes an empty one for the store
 */
export function unsynced(folder: () => string): Promise<string | null> {
  return (answer ??= ask(folder()));
}

async function ask(dir: string): Promise<string | null> {
  const commits = new CommitWatch();
  try {
    const store = new SqliteStore(join(dir, 'cabana.db'));
    try {
      // What it puts off until the event loop turns has happened by the first commit of a host as well.
      await nextTurn();
      const { life, draining } = batches();
      const fault = await firstFault(store, commits, Object.values(life).flat());
      if (fault !== null) return fault;
      store.drain();
      return await firstFault(store, commits, draining);
    } finally {
      await store.close();
    }
  } finally {
    commits.stop();
  }
}

async function firstFault(store: SqliteStore, commits: CommitWatch, batches: readonly Batch[]): Promise<string | null> {
  for (const { what, ops } of batches) {
    const fault = await faultOf(store, commits, ops);
    if (fault !== null) return `${what}: ${fault}`;
  }
  return null;
}

async function faultOf(store: SqliteStore, commits: CommitWatch, ops: readonly WriteOp[]): Promise<string | null> {
  commits.seen.length = 0;
  for (const result of await store.commit(ops)) if ('error' in result) return result.error.message;
  if (commits.seen.length === 0) return 'there was no commit';
  // A power failure may undo an epoch, or that a run has begun: nothing was done in their name by then.
  if (ops.every(({ kind }) => kind === 'load' || kind === 'start')) return null;
  const bad = commits.seen.find(({ journal, synchronous }) => journal !== 'wal' || synchronous < SYNCED_FROM);
  return bad ? `at a commit the journal mode was ${bad.journal} and synchronous ${bad.synchronous}` : null;
}

interface Batch<Op extends WriteOp = WriteOp> {
  what: string;
  ops: [Op, ...Op[]];
}

/**
 * Commits by the kind of their operations, in the order in which they are made. A kind has one at least, so that a new
 * one of the store's does not compile without.
 */
type Life = { [K in WriteOp['kind']]: [Batch<Extract<WriteOp, { kind: K }>>, ...Batch[]] };

/**
 * The life of a session, and of another one that ends, in commits: those that may be undone stand between those that may
 * not. And what is still committed while the host drains.
 */
function batches(): { life: Life; draining: Batch[] } {
  const sessionId = 'a';
  const ending = 'b';
  const runId = 'r';
  const at = Date.now();
  const createdAt = new Date(at).toISOString();
  const made = { pinned: false, createdAt, updatedAt: createdAt, quarantine: null, stats: emptyStats() };
  const record = { name: null, source: null, agentProfile: 'light', workingDir: null, params: {}, ...made };
  const fence = (n: number) => ({ key: 1, epoch: 1, n, at });
  const body = encodeState({ n: 1 });
  const input = encodeEntry({ role: 'user', content: 'hello' });
  const append = (n: number) => ({ kind: 'append', ...fence(n), body: input }) as const;
  const save = { kind: 'save', ...fence(4), body, stats: null } as const;
  const completed = { state: 'completed', output: null, error: null, code: null, entry: input } as const;
  const failed = { state: 'failed', error: 'its thread died', code: 'THREAD_DIED', entry: input } as const;
  const life: Life = {
    create: [
      { what: 'a new session', ops: [{ kind: 'create', record: { sessionId, ...record } }] },
      { what: 'another session', ops: [{ kind: 'create', record: { sessionId: ending, ...record } }] },
    ],
    load: [{ what: 'an epoch', ops: [{ kind: 'load', sessionId }] }],
    append: [{ what: 'an entry after an epoch', ops: [append(1)] }],
    accept: [
      { what: 'a run accepted', ops: [{ kind: 'accept', sessionId, runId, input, at }] },
      { what: 'a run accepted of the other session', ops: [{ kind: 'accept', sessionId: ending, runId, input, at }] },
    ],
    start: [
      { what: 'the start of a run', ops: [{ kind: 'start', ...fence(1), runId }] },
      { what: 'a group of entries after the start of a run', ops: [append(2), append(3)] },
    ],
    rename: [{ what: 'a name that the agent gives', ops: [{ kind: 'rename', ...fence(3), name: 'A', calledAt: at }] }],
    end: [
      {
        what: 'an outcome',
        ops: [{ kind: 'end', ...fence(4), runId, ...completed, stats: emptyStats(), snapshot: body }],
      },
    ],
    save: [{ what: 'a snapshot', ops: [save] }],
    update: [{ what: 'a name that a user gives', ops: [{ kind: 'update', sessionId, fields: { name: 'B' }, at }] }],
    requeue: [
      { what: 'a run put back in line', ops: [{ kind: 'requeue', sessionId: ending, runId, ifUnstarted: true }] },
    ],
    endRun: [{ what: 'a run ended by main', ops: [{ kind: 'endRun', sessionId: ending, runId, ...failed, at }] }],
    release: [{ what: 'an activation that is over', ops: [{ kind: 'release', sessionId: ending, epoch: null }] }],
    remove: [{ what: 'a session deleted', ops: [{ kind: 'remove', sessionId: ending, at }] }],
  };
  const draining: Batch[] = [
    { what: 'a snapshot while the host drains', ops: [save] },
    { what: 'an entry while the host drains', ops: [append(5)] },
  ];
  return { life, draining };
}

/** Asks every connection of this thread at each of its commits how it syncs. */
class CommitWatch {
  readonly seen: { journal: string; synchronous: number }[] = [];
  readonly #prepare: (source: string) => Statement = Reflect.get(Sqlite.prototype, 'prepare');
  readonly #exec: Database['exec'] = Reflect.get(Sqlite.prototype, 'exec');

  constructor() {
    const watch = this.#note.bind(this);
    const [prepare, exec] = [this.#prepare, this.#exec];
    Reflect.set(Sqlite.prototype, 'prepare', function (this: Database, source: string): Statement {
      const statement = prepare.call(this, source);
      if (!COMMIT.test(source)) return statement;
      const run = statement.run.bind(statement);
      statement.run = (...args) => {
        watch(this);
        return run(...args);
      };
      return statement;
    });
    Reflect.set(Sqlite.prototype, 'exec', function (this: Database, source: string): Database {
      if (COMMIT.test(source)) watch(this);
      return exec.call(this, source);
    });
  }

  #note(connection: Database): void {
    const ask = (setting: string): unknown => connection.pragma(setting, { simple: true });
    this.seen.push({ journal: String(ask('journal_mode')), synchronous: Number(ask('synchronous')) });
  }

  stop(): void {
    Reflect.set(Sqlite.prototype, 'prepare', this.#prepare);
    Reflect.set(Sqlite.prototype, 'exec', this.#exec);
  }
}

/** How often this thread syncs a file in that work: not as it says, but as the system is asked to. */
export function countSyncs<T>(work: () => T): { result: T; syncs: number } {
  const { fsyncSync, fdatasyncSync } = fs;
  let syncs = 0;
  const counted = (sync: (file: number) => void) => (file: number) => {
    syncs++;
    sync(file);
  };
  Object.assign(fs, { fsyncSync: counted(fsyncSync), fdatasyncSync: counted(fdatasyncSync) });
  syncBuiltinESMExports();
  try {
    return { result: work(), syncs };
  } finally {
    Object.assign(fs, { fsyncSync, fdatasyncSync });
    syncBuiltinESMExports();
  }
}
