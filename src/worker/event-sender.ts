// Events on their way from agents to main: gathered for a turn, or for a few milliseconds of a loop that never yields.

import type { AgentThreadNote } from '../protocol/control.js';
import type { BatchEndpoint } from '../protocol/endpoint.js';
import { EVENT_BATCH_MAX_EVENTS, EVENT_BATCH_MAX_MS } from '../protocol/limits.js';

export class EventSender {
  readonly #endpoint: BatchEndpoint;
  #gathered: AgentThreadNote[] = [];
  #events = 0;
  #since = 0;
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
    this.#endpoint.flush();
  }

  #added(): void {
    const now = performance.now();
    if (this.#events++ === 0) this.#since = now;
    if (this.#events >= EVENT_BATCH_MAX_EVENTS || now - this.#since >= EVENT_BATCH_MAX_MS) return this.flush();
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }
}
