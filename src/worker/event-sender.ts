// Events on their way from agents to main. The first after a pause leaves at once, for the code behind it may not yield
// again; those that follow closely are gathered for a turn, or for a few milliseconds of a loop.

import type { AgentThreadNote } from '../protocol/control.js';
import type { BatchEndpoint } from '../protocol/endpoint.js';
import { EVENT_BATCH_MAX_EVENTS, EVENT_BATCH_MAX_MS } from '../protocol/limits.js';

export class EventSender {
  readonly #endpoint: BatchEndpoint;
  #gathered: AgentThreadNote[] = [];
  #events = 0;
  #flushedAt = -Infinity;
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
    this.#flushedAt = performance.now();
    this.#endpoint.flush();
  }

  #added(): void {
    this.#events++;
    const waited = performance.now() - this.#flushedAt;
    if (this.#events >= EVENT_BATCH_MAX_EVENTS || waited >= EVENT_BATCH_MAX_MS) return this.flush();
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }
}
