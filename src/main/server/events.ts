// Server-sent events of a session: entries from the history (with their seq as id, so that a client resumes where it
// left off), what runs yield, the runs' states, and progress as the status table shows it.

import type { ServerResponse } from 'node:http';
import { codeOf } from '../../protocol/errors.js';
import { jsonSafe } from '../../protocol/json.js';
import {
  ENTRIES_PAGE_ROWS,
  PROGRESS_INTERVAL_MS,
  SSE_HEARTBEAT_MS,
  SSE_PIECE_MAX_BYTES,
  SSE_STALLED_MAX_MS,
} from '../../protocol/limits.js';
import { LATE, within } from '../clock.js';
import type { Host } from '../host.js';
import type { EventStream, SessionEvent } from '../registry/events/event-stream.js';
import { eventJson } from './json.js';
import type { Turns } from './turns.js';

/**
 * Streams until the client goes, the session is deleted or the host is closed.
 * @param last the last seq that the client has; null: it wants only what is new
 * @param end the history's, of before the subscription: what comes in between is sent from the history
 * @param turns of all clients
 */
export async function streamEvents(
  host: Host,
  sessionId: string,
  last: number | null,
  end: number,
  response: ServerResponse,
  turns: Turns,
): Promise<void> {
  // Subscribed before the replay, so that what becomes durable during it is not missed; told apart by its seq.
  const stream = host.subscribe(sessionId);
  const writer = new SseWriter(host, sessionId, stream, response, turns);
  response.on('close', () => stream.close());
  // The client may have gone while the session was looked up. 'close' has then fired already, and the handler above
  // never runs.
  if (response.destroyed || response.closed) return stream.close();
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  });
  // A seq beyond the end (the data folder is an older one again, say) is no place in the history: waiting for it would
  // hold back all that is new.
  const after = Math.min(last ?? end, end);
  // Who does not know this place is told it, so that a client which is cut off before the first entry misses none.
  response.write(after === last ? ': connected\n\n' : `: connected\nid: ${after}\n\n`);
  const { clock } = host.config;
  const timers = [
    clock.every(SSE_HEARTBEAT_MS, () => writer.comment('still here')),
    clock.every(PROGRESS_INTERVAL_MS, () => writer.progress()),
  ];
  try {
    await writer.replay(after);
    for await (const event of stream) await writer.event(event);
  } finally {
    for (const timer of timers) timer.cancel();
    stream.close();
    response.end();
  }
}

class SseWriter {
  readonly #host: Host;
  readonly #sessionId: string;
  readonly #stream: EventStream;
  readonly #response: ServerResponse;
  readonly #turns: Turns;
  /** The last seq that the client has. */
  #lastSeq = 0;
  #lastProgress = '';

  constructor(host: Host, sessionId: string, stream: EventStream, response: ServerResponse, turns: Turns) {
    this.#host = host;
    this.#sessionId = sessionId;
    this.#stream = stream;
    this.#response = response;
    this.#turns = turns;
  }

  /** Sends the history after a seq, page by page. */
  async replay(after: number): Promise<void> {
    this.#lastSeq = after;
    for (;;) {
      const page = await this.#pageFrom(this.#lastSeq + 1);
      if (!page || page.length === 0 || this.#gone) return;
      // Also if its last one could not be read, which is told as a gap.
      const last = this.#lastSeq + page.length;
      for (const event of page) await this.#send(event);
      this.#lastSeq = last;
    }
  }

  async #pageFrom(seq: number): Promise<SessionEvent[] | undefined> {
    try {
      return await this.#host.entriesFrom(this.#sessionId, seq, ENTRIES_PAGE_ROWS);
    } catch (error) {
      if (codeOf(error) !== 'STORE_CORRUPT') throw error;
    }
    // One of them is damaged: up to it one by one, and then past it.
    try {
      return await this.#host.entriesFrom(this.#sessionId, seq, 1);
    } catch (error) {
      if (codeOf(error) !== 'STORE_CORRUPT') throw error;
      this.#host.config.log.error({ err: error, sessionId: this.#sessionId, seq }, 'a damaged entry was left out');
      return [{ type: 'gap', missed: 1 }];
    }
  }

  async event(event: SessionEvent): Promise<void> {
    if (event.type === 'entry' && event.seq <= this.#lastSeq) return;
    await this.#send(event);
    // What was dropped for a slow client: its entries are on disk, and are sent from there.
    if (event.type === 'gap') await this.replay(this.#lastSeq);
  }

  /** Shows that the connection is alive. While data waits, it is, and a comment could come into the middle of an event. */
  comment(text: string): void {
    if (!this.#response.writableNeedDrain) this.#response.write(`: ${text}\n\n`);
  }

  /** Sends progress if it has changed: it is in the status table, so looking costs no message. */
  progress(): void {
    const summary = this.#host.registry.sessionSummary(this.#sessionId);
    if (!summary || summary.progress === null || this.#response.writableNeedDrain) return;
    const { progress, progressLabel: label, runId: run_id } = summary;
    const data = JSON.stringify({ run_id, progress, label });
    if (data === this.#lastProgress) return;
    this.#lastProgress = data;
    this.#response.write(`event: progress\ndata: ${data}\n\n`);
  }

  get #gone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  async #send(event: SessionEvent): Promise<void> {
    const turn = this.#turns.next();
    if (turn) await turn;
    if (this.#gone) return;
    if (event.type === 'entry') this.#lastSeq = event.seq;
    const id = event.type === 'entry' ? `id: ${event.seq}\n` : '';
    const data = JSON.stringify(eventJson(event), jsonSafe);
    await this.#write(Buffer.from(`${id}event: ${event.type}\ndata: ${data}\n\n`));
  }

  /**
   * Piece by piece: a client that takes minutes to read a large entry is seen to read. Were it cut off in the middle, it
   * would come back for the same entry for ever. Nobody else writes between two pieces: the response needs to drain until
   * the turn in which the next one is written, and comment() and progress() leave it alone then.
   */
  async #write(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.byteLength && !this.#gone; at += SSE_PIECE_MAX_BYTES) {
      if (!this.#response.write(bytes.subarray(at, at + SSE_PIECE_MAX_BYTES))) await this.#drained();
    }
  }

  /** Waits until the client has read what was written; one that does not for too long is cut off. */
  async #drained(): Promise<void> {
    let goOn!: () => void;
    const drained = new Promise<void>((resolve) => (goOn = resolve));
    for (const event of ['drain', 'close']) this.#response.once(event, goOn);
    const end = await within(this.#host.config.clock, SSE_STALLED_MAX_MS, drained);
    for (const event of ['drain', 'close']) this.#response.off(event, goOn);
    if (end !== LATE) return;
    this.#stream.close();
    this.#response.destroy();
  }
}
