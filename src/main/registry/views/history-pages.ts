// Pages of a session's history for whoever reads it from outside. (What agents read: worker/history.ts.)

import type { Remote } from '../../../protocol/calls.js';
import type { StoreCalls } from '../../../protocol/control.js';
import { CabanaError, assertFields } from '../../../protocol/errors.js';
import { assertSessionId } from '../../../protocol/ids.js';
import { MESSAGES_LIMIT_DEFAULT_ROWS, MESSAGES_LIMIT_MAX_ROWS } from '../../../protocol/limits.js';
import type { SessionEvent } from '../events/event-stream.js';
import { entryEvent } from '../events/subscriptions.js';

/** Which page: the newest `limit` entries (default 100) below the seq `before` (default: all). */
export interface PageOptions {
  limit?: number;
  before?: number;
}

export interface MessagePage {
  /** Oldest first. Each entry's own fields beside seq and created_at. */
  messages: Record<string, unknown>[];
  hasMore: boolean;
}

export class HistoryPages {
  readonly #store: Remote<StoreCalls>;

  constructor(store: Remote<StoreCalls>) {
    this.#store = store;
  }

  /** See Host.messagesJson. */
  async json(sessionId: string, options: PageOptions): Promise<Uint8Array | undefined> {
    assertSessionId(sessionId);
    assertFields(options, 'options', ['limit', 'before'] satisfies (keyof PageOptions)[]);
    const { limit = MESSAGES_LIMIT_DEFAULT_ROWS, before } = options;
    assertLimit(limit);
    if (before !== undefined && !Number.isSafeInteger(before)) {
      throw new CabanaError('INVALID_ARGUMENT', 'before is a seq');
    }
    return (await this.#store.messagesJson(sessionId, { limit, before: before ?? null })) ?? undefined;
  }

  /** See Host.messages. */
  async page(sessionId: string, options: PageOptions): Promise<MessagePage | undefined> {
    const json = await this.json(sessionId, options);
    if (!json) return undefined;
    const page = JSON.parse(new TextDecoder().decode(json)) as { messages: MessagePage['messages']; has_more: boolean };
    return { messages: page.messages, hasMore: page.has_more };
  }

  /** See Host.entriesFrom. */
  async from(sessionId: string, seq: number, limit: number): Promise<SessionEvent[] | undefined> {
    assertSessionId(sessionId);
    if (!Number.isSafeInteger(seq)) throw new CabanaError('INVALID_ARGUMENT', 'from is a seq');
    assertLimit(limit);
    const rows = await this.#store.entries(sessionId, seq, limit);
    return rows?.map(entryEvent);
  }

  /** See Host.lastSeq. */
  async lastSeq(sessionId: string): Promise<number | undefined> {
    assertSessionId(sessionId);
    return (await this.#store.lastSeq(sessionId)) ?? undefined;
  }
}

function assertLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MESSAGES_LIMIT_MAX_ROWS) return;
  throw new CabanaError('INVALID_ARGUMENT', `limit is a whole number from 1 to ${MESSAGES_LIMIT_MAX_ROWS}`);
}
