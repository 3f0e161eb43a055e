// An agent's state on its way between memory and the store: made or restored when the activation begins, taken as save()
// gives it, posted.

import { decodeState, encodeState } from '../protocol/codec.js';
import { CabanaError, messageOf } from '../protocol/errors.js';
import { HOOK_MAX_MS, SAVE_MAX_ATTEMPTS } from '../protocol/limits.js';
import type { AgentDefinition, StoredEntry } from './agent.js';
import type { Context } from './context.js';
import { inTime } from './deadline.js';
import type { History } from './history.js';
import type { JournalLink, Restored } from './journal-link.js';
import { unixMs } from './platform.js';
import type { StatusWriter } from './status-writer.js';

export interface SnapshotsParts {
  definition: AgentDefinition;
  ctx: Context;
  history: History;
  status: StatusWriter;
  link: JournalLink;
}

export class Snapshots {
  readonly #parts: SnapshotsParts;
  #saving: Promise<unknown> | null = null;

  constructor(parts: SnapshotsParts) {
    this.#parts = parts;
  }

  /** Gives the agent the state with which its activation begins. @throws what start, restore or save threw */
  async restore({ snapshot, tail, epoch }: Restored<StoredEntry>): Promise<void> {
    const { ctx, definition } = this.#parts;
    const { start, restore } = definition;
    if (snapshot === null) ctx.state = start ? await start(ctx) : {};
    if (snapshot === null && tail.length === 0 && epoch === 1) {
      // Kept from the beginning, so that restore never has to do without what start made. Nobody waits for it: it is in
      // the store's queue before anything that the first run does.
      await this.take((body) => this.post(body));
      return;
    }
    // If the process ended before the first snapshot was on disk: what start made, as save would have kept it.
    const saved = decodeState(snapshot ?? (await this.take((body) => body)));
    ctx.state = saved;
    if (restore) ctx.state = await restore(ctx, saved, tail);
  }

  /**
   * Takes the state, and posts it in the same turn: an entry appended in between would count as part of a snapshot that
   * lacks it. A save that is asynchronous is taken again if the history grew while it ran.
   * @throws CabanaError SAVE_FAILED, STATE_TOO_LARGE, VALUE_NOT_ENCODABLE
   */
  async take<T>(post: (body: Uint8Array) => T): Promise<T> {
    const { ctx, definition, history } = this.#parts;
    for (let attempt = 0; attempt < SAVE_MAX_ATTEMPTS; attempt++) {
      const { n } = history;
      let state: unknown;
      try {
        state = definition.save ? definition.save(ctx) : ctx.state;
        if (isThenable(state)) state = await inTime(Promise.resolve(state), HOOK_MAX_MS, 'SAVE_FAILED', 'save');
      } catch (error) {
        const what = `save of session ${ctx.sessionId} threw: ${messageOf(error)}`;
        throw new CabanaError('SAVE_FAILED', what, { cause: error });
      }
      if (history.n === n) return post(encodeState(state));
    }
    throw new CabanaError('SAVE_FAILED', `the history of session ${ctx.sessionId} kept growing while it was saved`);
  }

  /** The state is being taken by save(), which the agent may let wait. */
  get saving(): Promise<unknown> | null {
    return this.#saving;
  }

  /**
   * Takes the state and keeps it: one save at a time.
   * @throws CabanaError what take() and, `onDisk`, keep() throw
   */
  async save(): Promise<{ onDisk: Promise<void> }> {
    const saving = this.take((body) => ({ onDisk: this.keep(body) }));
    this.#saving = saving;
    try {
      return await saving;
    } finally {
      this.#saving = null;
    }
  }

  /** Sends a snapshot, with the session's figures. Resolves when it is on disk. @throws CabanaError STORE_FULL, STALE_EPOCH */
  keep(body: Uint8Array): Promise<void> {
    const { history, link, status } = this.#parts;
    return link.save({ at: unixMs(), body, stats: status.stats, ...history.fence() });
  }

  /** Sends a snapshot for whose arrival nobody waits. */
  post(body: Uint8Array): void {
    const { history, link } = this.#parts;
    link.send({ kind: 'save', request: 0, at: unixMs(), body, stats: null, ...history.fence() });
  }
}

/** Not every library's promise is a Promise. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
