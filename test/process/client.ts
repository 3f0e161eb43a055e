// What a client of the HTTP API does, in the words of these tests: create, run, read the history, listen.

import assert from 'node:assert/strict';
import type { Answer, Server } from '../support/server.js';
import { testAgent, until } from '../support/host.js';

/** Flags for the compiled test agents of these names, and a data folder. */
export function flags(dataDir: string, agents: readonly string[], ...more: string[]): string[] {
  return [...agents.flatMap((name) => ['--agents', testAgent(name)]), '--data', dataDir, ...more];
}

export interface RunJson {
  id: string;
  state: string;
  output: unknown;
  error: string | null;
  code: string | null;
  started_at: string | null;
  ended_at: string | null;
}

export type Entry = Record<string, unknown> & { seq: number; role: string };

export function sessionOf(answer: Answer): Record<string, unknown> {
  return answer.body['session'] as Record<string, unknown>;
}

export function runOf(answer: Answer): RunJson {
  return answer.body['run'] as RunJson;
}

/** @returns the new session's id */
export async function create(server: Server, profile: string, fields: Record<string, unknown> = {}): Promise<string> {
  const answer = await server.request('POST', '/api/sessions', { agent_profile: profile, ...fields });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return sessionOf(answer)['id'] as string;
}

/** Sends a run that must be accepted. @returns its id */
export async function accept(server: Server, id: string, input: unknown, runId?: string): Promise<string> {
  const body = { input, ...(runId === undefined ? {} : { run_id: runId }) };
  const answer = await server.request('POST', `/api/sessions/${id}/runs`, body);
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return runOf(answer).id;
}

export async function readRun(server: Server, id: string, runId: string, waitMs = 0): Promise<RunJson> {
  const answer = await server.request('GET', `/api/sessions/${id}/runs/${runId}?wait_ms=${waitMs}`);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return runOf(answer);
}

/** The run when it is over. */
export async function ended(server: Server, id: string, runId: string): Promise<RunJson> {
  for (const end = performance.now() + 60_000; performance.now() < end;) {
    const run = await readRun(server, id, runId, 5_000);
    if (run.state !== 'queued' && run.state !== 'running') return run;
  }
  throw new Error(`run ${runId} of session ${id} never ended`);
}

/** Runs to the end and expects it to complete. @returns the output */
export async function run<Output>(server: Server, id: string, input: unknown): Promise<Output> {
  const outcome = await ended(server, id, await accept(server, id, input));
  assert.equal(outcome.state, 'completed', JSON.stringify(outcome));
  return outcome.output as Output;
}

/** The whole history, read page by page from its end. */
export async function history(server: Server, id: string, limit = 1000): Promise<Entry[]> {
  let entries: Entry[] = [];
  for (let before = ''; ;) {
    const answer = await server.request('GET', `/api/sessions/${id}/messages?limit=${limit}${before}`);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    const page = answer.body['messages'] as Entry[];
    entries = [...page, ...entries];
    if (answer.body['has_more'] !== true) return entries;
    assert.ok(page.length > 0, 'a page with more behind it is not empty');
    before = `&before=${page[0]!.seq}`;
  }
}

/** Sends a counter into an endless loop and resolves when it is in it, holding its thread. */
export async function spin(server: Server, id: string, kind: 'check' | 'never'): Promise<string> {
  const runId = await accept(server, id, { entries: 1, spin: kind });
  // The loop begins in the same turn as this entry is appended.
  await until('it spins', async () => (await history(server, id)).some((entry) => entry.role === 'note'));
  return runId;
}

/** Calls fn for every item, at most `width` of them at a time; results in the order of the items. */
export async function inParallel<T, R>(
  width: number,
  items: readonly T[],
  fn: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await fn(items[index]!, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return results;
}

export interface SseEvent {
  id: string | null;
  kind: string;
  data: Record<string, unknown>;
}

/** A client of a session's event stream. */
export class EventClient {
  readonly events: SseEvent[] = [];
  /** With which an EventSource would come back. */
  lastEventId: number | null = null;
  /** Resolves when the server ends the stream; rejects if it breaks. */
  readonly ended: Promise<void>;
  readonly #abort: AbortController;
  #wake: () => void = () => undefined;

  private constructor(response: Response, abort: AbortController) {
    this.#abort = abort;
    this.ended = this.#read(response);
    this.ended.catch(() => undefined);
  }

  static async open(server: Server, id: string, lastEventId?: number): Promise<EventClient> {
    const abort = new AbortController();
    const response = await fetch(`${server.url}/api/sessions/${id}/events`, {
      signal: abort.signal,
      ...(lastEventId === undefined ? {} : { headers: { 'last-event-id': String(lastEventId) } }),
    });
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
    return new EventClient(response, abort);
  }

  async #read(response: Response): Promise<void> {
    let text = '';
    try {
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          this.#take(text.slice(0, end));
          text = text.slice(end + 2);
        }
        this.#wake();
      }
    } finally {
      this.#wake();
    }
  }

  #take(block: string): void {
    const fields = new Map(
      block
        .split('\n')
        .filter((line) => !line.startsWith(':'))
        .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)] as const),
    );
    const id = fields.get('id') ?? null;
    if (id !== null) this.lastEventId = Number(id);
    const data = fields.get('data');
    if (data === undefined) return;
    const kind = fields.get('event') ?? 'message';
    this.events.push({ id, kind, data: JSON.parse(data) as Record<string, unknown> });
  }

  /** Resolves when the condition holds for what has come so far. */
  async until(what: string, holds: (events: SseEvent[]) => boolean, deadlineMs = 60_000): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, deadlineMs);
    try {
      while (!holds(this.events)) {
        if (late) throw new Error(`never came: ${what}; there is ${JSON.stringify(this.events)}`);
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** The seqs of the entries that have come, in the order of their coming. */
  get seqs(): number[] {
    return this.events.filter((event) => event.kind === 'entry').map((event) => Number(event.id));
  }

  close(): void {
    this.#abort.abort();
  }
}
