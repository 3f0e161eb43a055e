// The store's thread, as main sees it. It is never terminated: it writes the disk.

import { MessageChannel } from 'node:worker_threads';
import { transfer } from 'comlink';
import { remote, type Remote } from '../../protocol/calls.js';
import { STORE_CALLS, type StoreCalls, type StoreNote } from '../../protocol/control.js';
import { BatchEndpoint } from '../../protocol/endpoint.js';
import { CabanaError, fromWire, messageOf } from '../../protocol/errors.js';
import type { AgentThread } from './agent-thread.js';
import { startThread, type Thread } from './worker-pool.js';

const ENTRY = new URL('../../worker/store/entry.cjs', import.meta.url);

export interface StoreHooks {
  onEnded: (note: Extract<StoreNote, { kind: 'ended' }>) => void;
  onEntries: (note: Extract<StoreNote, { kind: 'entries' }>) => void;
  /** The storage failed for good, or the thread died: nothing more can be acknowledged. */
  onFatal: (error: CabanaError) => void;
}

export class StoreThread {
  readonly calls: Remote<StoreCalls>;
  readonly #thread: Thread;
  #opened = false;
  #closing = false;

  private constructor(calls: Remote<StoreCalls>, thread: Thread) {
    this.calls = calls;
    this.#thread = thread;
  }

  /** @throws CabanaError DATA_DIR_IN_USE, DATA_DIR_INVALID, STORE_SCHEMA, STORE_IO */
  static async open(dataDir: string, table: SharedArrayBuffer, hooks: StoreHooks): Promise<StoreThread> {
    const { port1, port2 } = new MessageChannel();
    const endpoint = new BatchEndpoint(port1);
    const calls = remote<StoreCalls>(STORE_CALLS, endpoint);
    const ready = new Promise<void>((resolve, reject) => {
      endpoint.onNote((note) => {
        const said = note as StoreNote;
        switch (said.kind) {
          case 'ready':
            return resolve();
          case 'startFailed':
            return reject(fromWire(said.error));
          case 'ended':
            return hooks.onEnded(said);
          case 'entries':
            return hooks.onEntries(said);
          case 'fatal':
            return hooks.onFatal(fromWire(said.error) as CabanaError);
          default:
            return said satisfies never;
        }
      });
    });
    const task = { port: port2, table, dataDir };
    const thread = startThread({ entry: ENTRY, task, transfers: [port2], niceIncrement: 0, heapMb: null });
    const store = new StoreThread(calls, thread);
    const died = thread.ended.then(
      () => store.#died(endpoint, new CabanaError('STORE_UNAVAILABLE', 'the store was closed'), hooks),
      (error: unknown) => {
        const death = new CabanaError('STORE_IO', `the store thread died: ${messageOf(error)}`, { cause: error });
        return store.#died(endpoint, death, hooks);
      },
    );
    await Promise.race([ready, died.then((error) => Promise.reject(error))]);
    store.#opened = true;
    return store;
  }

  #died(endpoint: BatchEndpoint, error: CabanaError, hooks: StoreHooks): CabanaError {
    endpoint.settle(error);
    if (this.#opened && !this.#closing) hooks.onFatal(error);
    return error;
  }

  /** Opens the journal link of an agent thread. */
  attach(thread: AgentThread): Promise<void> {
    const { port, credit } = thread.journal;
    return this.calls.attach(thread.no, transfer(port, [port]), credit);
  }

  /** The host ends soon: what is written from now on is to be quick, at the next start's expense. */
  drain(): void {
    // If it has died, everybody who waits for a write is told.
    this.calls.drain().catch(() => undefined);
  }

  /** False: some of what was appended could not be written. Resolves when the database is closed. */
  async close(): Promise<boolean> {
    this.#closing = true;
    const complete = await this.calls.close();
    await this.#thread.ended;
    await this.#thread.terminate();
    return complete;
  }
}
