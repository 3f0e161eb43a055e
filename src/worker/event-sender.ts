// Sends the events, reports, names and log lines of a thread's agents to main. The first few of every few milliseconds
// leave at once, for the code behind them may not yield again; a flood is gathered.
//
// What is on its way is bounded by the thread's window. When that is shut, an event waits a moment and is then counted
// instead of sent; reports and names are merged; log lines are counted. What was counted is told in its place, before
// anything later of that session, and at the latest before the end of the run: it is lost, but never in silence.

import type { AgentThreadNote, AgentLogLevel, WeighedNote } from '../protocol/control.js';
import { packEvent } from '../protocol/codec.js';
import { toWire, type CabanaError } from '../protocol/errors.js';
import type { BatchEndpoint } from '../protocol/endpoint.js';
import { EventPacker } from '../protocol/event-batch.js';
import {
  EVENT_BATCH_MAX_BYTES,
  EVENT_BATCH_MAX_EVENTS,
  EVENT_BURST_FREE_POSTS,
  EVENT_BURST_MS,
  NOTES_RETRY_MS,
  NOTE_OVERHEAD_BYTES,
} from '../protocol/limits.js';
import type { SessionStats } from '../protocol/session.js';
import type { NoteWindow } from './note-window.js';
import { monotonicMs, setImmediate, setTimeout } from './platform.js';

/** What a session has to tell when the window opens. */
interface Untold {
  /** Events that were not sent, by the run that emitted them. */
  missed: Map<string | null, number>;
  droppedLines: number;
  figures: Figures | null;
}

/** A name, and when the agent gave it, by instant.ts. */
interface GivenName {
  name: string;
  calledAt: number;
}

/** What an activation says of its session: of the newest one that has said something. */
interface Figures {
  epoch: number;
  stats: Partial<SessionStats> | null;
  name: GivenName | null;
}

export class EventSender {
  readonly #endpoint: BatchEndpoint;
  readonly #window: NoteWindow;
  readonly #packer = new EventPacker();
  /** Whose events are in the packer, and what they have taken of the window. */
  #packing: { sessionId: string; runId: string | null; weight: number } | null = null;
  #gathered: WeighedNote[] = [];
  #count = 0;
  readonly #untold = new Map<string, Untold>();
  /** When the current burst began, and how many posts it has had. */
  #burstAt = -Infinity;
  #posts = 0;
  #flushScheduled = false;
  #retryScheduled = false;

  constructor(endpoint: BatchEndpoint, window: NoteWindow) {
    this.#endpoint = endpoint;
    this.#window = window;
  }

  /**
   * One event of a session: sent, or counted as missed.
   * @throws CabanaError VALUE_NOT_ENCODABLE, PAYLOAD_TOO_LARGE
   */
  event(sessionId: string, runId: string | null, event: unknown): void {
    if (!this.#window.isOpen && !this.#waitOpen()) {
      // Refused like one that is sent: whether an event is good must not depend on the load.
      packEvent(event);
      const { missed } = this.#untoldOf(sessionId);
      missed.set(runId, (missed.get(runId) ?? 0) + 1);
      return;
    }
    if (this.#untold.size > 0) this.#tell(sessionId);
    if (this.#packing?.sessionId !== sessionId || this.#packing.runId !== runId) this.#close();
    const weight = this.#packer.add(event) + NOTE_OVERHEAD_BYTES;
    this.#window.take(weight);
    this.#packing ??= { sessionId, runId, weight: 0 };
    this.#packing.weight += weight;
    this.#added();
  }

  /** Resolves when an event can be emitted without blocking the thread; undefined: it can now. */
  room(): Promise<void> | undefined {
    const opened = this.#window.opened();
    if (opened) this.flush();
    return opened;
  }

  report(sessionId: string, epoch: number, stats: Partial<SessionStats>): void {
    if (this.#mayTell(sessionId)) return this.#note({ kind: 'report', sessionId, epoch, stats }, 0);
    const figures = this.#figuresOf(sessionId, epoch);
    if (figures) figures.stats = { ...figures.stats, ...stats };
  }

  rename(sessionId: string, epoch: number, given: GivenName): void {
    if (this.#mayTell(sessionId)) return this.#note({ kind: 'rename', sessionId, epoch, ...given }, given.name.length);
    const figures = this.#figuresOf(sessionId, epoch);
    if (figures) figures.name = given;
  }

  /** The store takes nothing more of this activation. */
  refused(sessionId: string, epoch: number, error: CabanaError): void {
    this.#note({ kind: 'refused', sessionId, epoch, error: toWire(error) }, error.message.length);
  }

  /** @param chars about how much text it is */
  log(
    sessionId: string,
    line: { level: AgentLogLevel; message: string; fields: Record<string, unknown> | null },
    chars: number,
  ): void {
    if (this.#mayTell(sessionId)) return this.#note({ kind: 'log', sessionId, ...line }, chars);
    this.#untoldOf(sessionId).droppedLines++;
  }

  /** Posts what is gathered, now. */
  flush(): void {
    this.#close();
    if (this.#gathered.length === 0) return;
    for (const note of this.#gathered) this.#endpoint.note(note);
    this.#gathered = [];
    this.#count = 0;
    this.#posts++;
    this.#endpoint.flush();
  }

  /**
   * A run of the session ends: sends everything gathered, and the counts of what was dropped, even if the window is
   * shut.
   */
  settle(sessionId: string): void {
    this.#tell(sessionId);
    this.flush();
  }

  /** The same for all sessions that have something untold. */
  settleAll(): void {
    for (const sessionId of [...this.#untold.keys()]) this.#tell(sessionId);
    this.flush();
  }

  #waitOpen(): boolean {
    // Post first: notes still gathered here are never acknowledged, so the window would never open.
    this.flush();
    return this.#window.waitOpen();
  }

  /** Whether a note of the session may leave; what the session could not tell before leaves before it. */
  #mayTell(sessionId: string): boolean {
    if (!this.#window.isOpen) return false;
    if (this.#untold.size > 0) this.#tell(sessionId);
    return true;
  }

  #untoldOf(sessionId: string): Untold {
    let untold = this.#untold.get(sessionId);
    if (!untold) {
      untold = { missed: new Map(), droppedLines: 0, figures: null };
      this.#untold.set(sessionId, untold);
      this.#retry();
    }
    return untold;
  }

  /** What the activation of this epoch has yet to say; null: a later one has spoken. */
  #figuresOf(sessionId: string, epoch: number): Figures | null {
    const untold = this.#untoldOf(sessionId);
    if (untold.figures && untold.figures.epoch > epoch) return null;
    if (untold.figures?.epoch !== epoch) untold.figures = { epoch, stats: null, name: null };
    return untold.figures;
  }

  #tell(sessionId: string): void {
    const untold = this.#untold.get(sessionId);
    if (!untold) return;
    this.#untold.delete(sessionId);
    for (const [runId, missed] of untold.missed) this.#note({ kind: 'gap', sessionId, runId, missed }, 0);
    if (untold.figures) this.#tellFigures(sessionId, untold.figures);
    if (untold.droppedLines > 0) {
      const message = `${untold.droppedLines} log lines were dropped: there were more than the main thread could take`;
      this.#note({ kind: 'log', sessionId, level: 'warn', message, fields: null }, message.length);
    }
  }

  #tellFigures(sessionId: string, { epoch, stats, name }: Figures): void {
    if (stats) this.#note({ kind: 'report', sessionId, epoch, stats }, 0);
    if (name !== null) this.#note({ kind: 'rename', sessionId, epoch, ...name }, name.name.length);
  }

  /** Looks now and then whether what is untold can be told: its session may have nothing more to say by itself. */
  #retry(): void {
    if (this.#retryScheduled) return;
    this.#retryScheduled = true;
    setTimeout(() => {
      this.#retryScheduled = false;
      for (const sessionId of [...this.#untold.keys()]) if (this.#window.isOpen) this.#tell(sessionId);
      if (this.#untold.size > 0) this.#retry();
    }, NOTES_RETRY_MS).unref();
  }

  #note(note: AgentThreadNote, chars: number): void {
    this.#close();
    const weight = chars + NOTE_OVERHEAD_BYTES;
    this.#window.take(weight);
    this.#gathered.push({ ...note, weight });
    this.#added();
  }

  /** Makes a note of the events in the packer. */
  #close(): void {
    if (!this.#packing) return;
    this.#gathered.push({ kind: 'events', ...this.#packing, events: this.#packer.take() });
    this.#packing = null;
  }

  #added(): void {
    this.#count++;
    if (this.#count >= EVENT_BATCH_MAX_EVENTS || this.#packer.byteLength >= EVENT_BATCH_MAX_BYTES) return this.flush();
    const now = monotonicMs();
    if (now - this.#burstAt >= EVENT_BURST_MS) {
      this.#burstAt = now;
      this.#posts = 0;
    }
    if (this.#posts < EVENT_BURST_FREE_POSTS) return this.flush();
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(() => {
      this.#flushScheduled = false;
      this.flush();
    });
  }
}
