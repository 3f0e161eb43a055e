// What the store's tests write: records, entries, and a session whose operations follow each other.

import assert from 'node:assert/strict';
import { encodeEntry } from '../../src/protocol/codec.js';
import type { StoredRun } from '../../src/protocol/control.js';
import type { EntryRow, Loaded } from '../../src/protocol/journal.js';
import { emptyStats, type SessionRecord, type SessionStats } from '../../src/protocol/session.js';
import type { Store, WriteOp, Written } from '../../src/worker/store/store.js';

export const AT = Date.parse('2026-01-01T00:00:00.000Z');

export function record(sessionId: string, fields: Partial<SessionRecord> = {}): SessionRecord {
  const createdAt = new Date(AT).toISOString();
  return {
    sessionId,
    name: null,
    source: null,
    agentProfile: null,
    workingDir: null,
    params: {},
    pinned: false,
    createdAt,
    updatedAt: createdAt,
    quarantine: null,
    stats: emptyStats(),
    ...fields,
  };
}

export const entry = (content: unknown): Uint8Array => encodeEntry({ role: 'assistant', content });

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export const seqs = (rows: readonly EntryRow[]): number[] => rows.map((row) => row.seq);

/** Commits one operation and gives what it did. @throws the operation's refusal */
export async function write(store: Store, op: WriteOp): Promise<Written> {
  const [result] = await store.commit([op]);
  if ('error' in result!) throw result.error;
  return result!.ok;
}

export async function create(store: Store, ...records: SessionRecord[]): Promise<void> {
  for (const result of await store.commit(records.map((r) => ({ kind: 'create', record: r }))))
    assert.ok('ok' in result);
}

export async function load(store: Store, sessionId: string): Promise<Loaded> {
  const { loaded } = await write(store, { kind: 'load', sessionId });
  assert.ok(loaded, `session ${sessionId} is there`);
  return loaded;
}

export async function accept(store: Store, sessionId: string, runId: string): Promise<StoredRun> {
  const { accepted } = await write(store, {
    kind: 'accept',
    sessionId,
    runId,
    input: entry(`input of ${runId}`),
    at: AT,
  });
  return accepted!.run;
}

/** One activation: makes operations whose numbers follow each other, as a thread's history does. */
export class Activation {
  readonly store: Store;
  readonly loaded: Loaded;
  n = 0;

  private constructor(store: Store, loaded: Loaded) {
    this.store = store;
    this.loaded = loaded;
  }

  static async of(store: Store, sessionId: string): Promise<Activation> {
    return new Activation(store, await load(store, sessionId));
  }

  get fence(): { key: number; epoch: number; n: number } {
    return { key: this.loaded.key, epoch: this.loaded.epoch, n: this.n };
  }

  append(content: unknown): WriteOp {
    this.n++;
    return { kind: 'append', at: AT, body: entry(content), ...this.fence };
  }

  start(runId: string): WriteOp {
    return { kind: 'start', at: AT + 1, runId, ...this.fence };
  }

  save(text: string, stats: SessionStats | null = null): WriteOp {
    return { kind: 'save', at: AT, body: bytes(text), stats, ...this.fence };
  }

  end(runId: string, snapshot: string | null = null, stats: Partial<SessionStats> = {}): WriteOp {
    this.n++;
    return {
      kind: 'end',
      at: AT + 2,
      runId,
      state: 'completed',
      entry: entry(`end of ${runId}`),
      output: bytes(`output of ${runId}`),
      error: null,
      code: null,
      stats: { ...emptyStats(), ...stats },
      snapshot: snapshot === null ? null : bytes(snapshot),
      ...this.fence,
    };
  }

  /** Commits in one transaction; every operation has to be taken. */
  async commit(...ops: WriteOp[]): Promise<Written[]> {
    return (await this.store.commit(ops)).map((result) => {
      if ('error' in result) throw result.error;
      return result.ok;
    });
  }
}

export function endRun(sessionId: string, runId: string): WriteOp {
  return {
    kind: 'endRun',
    sessionId,
    runId,
    state: 'failed',
    entry: entry(`${runId} failed`),
    error: 'its thread died',
    code: 'AGENT_CRASHED',
    at: AT + 3,
  };
}
