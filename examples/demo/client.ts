// A client of the HTTP API: plain fetch, and server-sent events read line by line.

/** An entry of a history as the API gives it. */
export type Entry = { seq: number; created_at: string; role?: string; [field: string]: unknown };

export interface Run {
  id: string;
  state: 'queued' | 'running' | 'completed' | 'failed' | 'interrupted';
  output: unknown;
  error: string | null;
  code: string | null;
}

export type ServerEvent =
  | { type: 'entry'; data: Entry }
  | { type: 'event'; data: { run_id: string | null; data: unknown } }
  | { type: 'run'; data: { run: Run } }
  | { type: 'progress'; data: { run_id: string | null; progress: number; label: string } }
  | { type: 'gap'; data: { missed: number } };

const REQUEST_MAX_MS = 70_000;

export class Client {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async create(agentProfile: string, name: string): Promise<string> {
    const body = { agent_profile: agentProfile, name };
    const { session } = await this.#ask<{ session: { id: string } }>('POST', '/api/sessions', body);
    return session.id;
  }

  /** @returns the run's id, once its input is on disk (202) */
  async send(sessionId: string, input: unknown): Promise<string> {
    const { run } = await this.#ask<{ run: { id: string } }>('POST', `/api/sessions/${sessionId}/runs`, { input });
    return run.id;
  }

  /** The run as it is now, or, with `waitMs`, when it is over or the time is up. */
  async run(sessionId: string, runId: string, waitMs = 0): Promise<Run> {
    const path = `/api/sessions/${sessionId}/runs/${runId}?wait_ms=${waitMs}`;
    return (await this.#ask<{ run: Run }>('GET', path)).run;
  }

  /** The whole history, oldest first: read in pages, from the newest to the oldest. */
  async history(sessionId: string): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (let more = true; more;) {
      const before = entries[0] ? `&before=${entries[0].seq}` : '';
      const path = `/api/sessions/${sessionId}/messages?limit=1000${before}`;
      const page = await this.#ask<{ messages: Entry[]; has_more: boolean }>('GET', path);
      entries.unshift(...page.messages);
      more = page.has_more;
    }
    return entries;
  }

  /** A session's events, its history first. Ends when the server closes the stream. */
  async *events(sessionId: string): AsyncGenerator<ServerEvent> {
    const response = await fetch(`${this.#url}/api/sessions/${sessionId}/events`, {
      headers: { 'last-event-id': '0' },
    });
    if (!response.ok || !response.body) throw new Error(`no events of session ${sessionId}: ${response.status}`);
    let text = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const type = /^event: (.+)$/m.exec(block)?.[1];
        const data = /^data: (.+)$/m.exec(block)?.[1];
        if (type && data) yield { type, data: JSON.parse(data) as unknown } as ServerEvent;
      }
    }
  }

  async #ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.#url + path, {
      method,
      signal: AbortSignal.timeout(REQUEST_MAX_MS),
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as T & { error?: string; code?: string };
    if (!response.ok)
      throw new Error(`${method} ${path}: ${response.status} ${answer.code ?? ''} ${answer.error ?? ''}`);
    return answer;
  }
}
