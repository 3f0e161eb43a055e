// Events on their way from agents to main. The first few of every few milliseconds leave at once, for the code behind them
// may not yield again; a flood is gathered.

import type { AgentThreadNote } from '../protocol/control.js';
import type { BatchEndpoint } from '../protocol/endpoint.js';
import { EVENT_BATCH_MAX_EVENTS, EVENT_BATCH_MAX_MS, EVENT_WINDOW_FREE_POSTS } from '../protocol/limits.js';

export class EventSender {
  readonly #endpoint: BatchEndpoint;
  #gathered: AgentThreadNote[] = [];
  #events = 0;
  /** When the current window began, and how many posts it has had. */
  #windowAt = -Infinity;
  #posts = 0;
  #scheduled = false;

  constructor(endpoint: BatchEndpoint) {
    this.#endpoint = endpoint;
  }

  /** One encoded event of a session. */
  event(sessionId: string, runId: string | null, event: Uint8Array): void {
    const last = this.#gathered.at(-1);
    if (last?.kind === 'events' && last.sessionId === sessionId && last.runId === runId) last.events.push(event);
    else this.#gathered.push({ kind: 'events', sessionId, runId, events: [event] });
    this.#added();
  }

  note(note: AgentThreadNote): void {
    this.#gathered.push(note);
    this.#added();
  }

  /** Posts what is gathered, now. */
  flush(): void {
    if (this.#gathered.length === 0) return;
    for (const note of this.#gathered) this.#endpoint.note(note);
    this.#gathered = [];
    this.#events = 0;
    this.#posts++;
    this.#endpoint.flush();
  }

  #added(): void {
    this.#events++;
    const now = performance.now();
    if (now - this.#windowAt >= EVENT_BATCH_MAX_MS) {
      this.#windowAt = now;
      this.#posts = 0;
    }
    if (this.#posts < EVENT_WINDOW_FREE_POSTS || this.#events >= EVENT_BATCH_MAX_EVENTS) return this.flush();
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }
}
