// The store's thread, as main sees it. It is never terminated: it writes the disk.

import { MessageChannel } from 'node:worker_threads';
import { transfer } from 'comlink';
import { remote, type Remote } from '../../protocol/calls.js';
import { STORE_CALLS, type StoreCalls, type StoreNote, type StoreTask } from '../../protocol/control.js';
import { BatchEndpoint } from '../../protocol/endpoint.js';
import { CabanaError, fromWire, messageOf } from '../../protocol/errors.js';
import type { AgentThread } from './agent-thread.js';
import { Thread } from './worker-pool.js';

const ENTRY = new URL('../../worker/store/entry.cjs', import.meta.url);

export interface StoreHooks {
  onEnded: (note: Extract<StoreNote, { kind: 'ended' }>) => void;
  onEntries: (note: Extract<StoreNote, { kind: 'entries' }>) => void;
  /** The storage failed for good, or the thread died: nothing more can be acknowledged. */
  onFatal: (error: CabanaError) => void;
}

export class StoreThread {
  readonly calls: Remote<StoreCalls>;
  /** Rejects with CabanaError DATA_DIR_IN_USE, DATA_DIR_INVALID, STORE_SCHEMA, STORE_IO. */
  readonly opened: Promise<void>;
  readonly #thread: Thread;
  readonly #ended: Promise<void>;
  #state: 'opening' | 'open' | 'closing' = 'opening';

  /** Begins to open the store. */
  constructor(dataDir: string, table: SharedArrayBuffer, hooks: StoreHooks) {
    const { port1, port2 } = new MessageChannel();
    const endpoint = new BatchEndpoint(port1);
    this.calls = remote<StoreCalls>(STORE_CALLS, endpoint);
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
    const task = { port: port2, table, dataDir } satisfies StoreTask;
    this.#thread = new Thread(null);
    this.#ended = this.#thread.run(ENTRY, 'serve', task, [port2]);
    const died = this.#ended.then(
      () => this.#died(endpoint, new CabanaError('HOST_CLOSED', 'the host was closed'), hooks),
      (error: unknown) => {
        const death = new CabanaError('STORE_IO', `the store thread died: ${messageOf(error)}`, { cause: error });
        return this.#died(endpoint, death, hooks);
      },
    );
    this.opened = Promise.race([ready, died.then((error) => Promise.reject(error))]).then(() => {
      this.#state = 'open';
    });
    // Whoever starts the host awaits it; this keeps an early failure from being an unhandled rejection before that.
    this.opened.catch(() => undefined);
  }

  #died(endpoint: BatchEndpoint, error: CabanaError, hooks: StoreHooks): CabanaError {
    endpoint.settle(error);
    if (this.#state === 'open') hooks.onFatal(error);
    return error;
  }

  /** Opens the journal link of an agent thread. */
  attach(thread: AgentThread): Promise<void> {
    const { port, ring } = thread.journal;
    return this.calls.attach(thread.no, transfer(port, [port]), ring);
  }

  /** The host ends soon: what is written from now on is to be quick, at the next start's expense. */
  drain(): void {
    // If it has died, everybody who waits for a write is told.
    this.calls.drain().catch(() => undefined);
  }

  /** False: some of what was appended could not be written. Resolves when the database is closed, or was never opened. */
  async close(): Promise<boolean> {
    const opened = await this.opened.then(
      () => true,
      () => false,
    );
    const complete = opened ? await this.#close() : true;
    await this.#ended;
    await this.#thread.terminate();
    return complete;
  }

  #close(): Promise<boolean> {
    this.#state = 'closing';
    return this.calls.close();
  }
}
