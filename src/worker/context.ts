// The context that an agent's hooks are given: one per activation. What belongs to a single run is in its RunScope.

import type { AgentLogLevel } from '../protocol/control.js';
import { CabanaError, assertFields, isA, messageOf, toWire } from '../protocol/errors.js';
import { instantMs } from '../protocol/instant.js';
import { jsonSafe } from '../protocol/json.js';
import {
  LABEL_MAX_CHARS,
  LOG_FIELDS_MAX_CHARS,
  LOG_MESSAGE_MAX_CHARS,
  NAME_MAX_CHARS,
  SUB_MODELS_MAX,
  TIME_SLICE_MS,
} from '../protocol/limits.js';
import type { AgentContext, AgentLog, AgentReport } from './agent.js';
import type { EventSender } from './event-sender.js';
import type { History } from './history.js';
import type { RunInterrupt } from './interrupt.js';
import type { StatusWriter } from './status-writer.js';
import type { SessionRecord, SessionStats } from '../protocol/session.js';
import { monotonicMs, setImmediate } from './platform.js';

/** What is true of the run in progress. */
export interface RunScope {
  /** Null: a compaction. */
  runId: string | null;
  interrupt: RunInterrupt;
  resumed: boolean;
  /** It gives the thread up in a yield, or has it back. */
  onYield(waits: boolean): void;
}

const NEVER = new AbortController().signal;

/** The figures of a report that are text. */
const LABELS = [
  'model',
  'modelId',
  'costSource',
  'reasoningEffort',
  'permissionMode',
  'cardModel',
  'subModel',
  'topUpUrl',
] as const satisfies readonly (keyof AgentReport)[];

export class Context implements AgentContext<unknown> {
  state: unknown = undefined;
  readonly sessionId: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly workingDir: string | null;
  readonly history: History;
  readonly #events: EventSender;
  readonly #status: StatusWriter;
  readonly #renamed: (name: string, calledAt: number) => void;
  /** The activation has left memory, and its row of the table with it. */
  #left = false;
  #run: RunScope | null = null;
  #sliceStart = 0;

  constructor(
    record: SessionRecord,
    history: History,
    status: StatusWriter,
    events: EventSender,
    renamed: (name: string, calledAt: number) => void,
  ) {
    this.sessionId = record.sessionId;
    this.params = record.params;
    this.workingDir = record.workingDir;
    this.history = history;
    this.#status = status;
    this.#events = events;
    this.#renamed = renamed;
  }

  /** The host's: begins and ends the scope of a run. */
  scope(run: RunScope | null): void {
    this.#run = run;
    this.#sliceStart = monotonicMs();
  }

  /** The host's: from now on what the agent's timers and promises still say is not heard. */
  leave(): void {
    this.#left = true;
  }

  get signal(): AbortSignal {
    return this.#run?.interrupt.signal ?? NEVER;
  }

  get resumed(): boolean {
    return this.#run?.resumed ?? false;
  }

  checkpoint(): void {
    this.#run?.interrupt.check();
  }

  async yield(): Promise<void> {
    if (monotonicMs() - this.#sliceStart >= TIME_SLICE_MS) {
      // Of this run: when the loop has turned, another may be in progress.
      const run = this.#run;
      run?.onYield(true);
      await new Promise((resolve) => setImmediate(resolve));
      run?.onYield(false);
      this.#sliceStart = monotonicMs();
    }
    this.checkpoint();
  }

  emit(event: unknown): void {
    // Nobody listens: nothing to encode, nothing to send.
    if (this.#left || !this.#status.watched) return;
    this.#events.event(this.sessionId, this.#run?.runId ?? null, event);
  }

  /** The host's: what to wait for, so that emitting does not hold the thread; undefined: nothing. */
  room(): Promise<void> | undefined {
    return this.#status.watched ? this.#events.room() : undefined;
  }

  progress(fraction: number, label = ''): void {
    if (!(typeof fraction === 'number' && fraction >= 0)) {
      throw new CabanaError('INVALID_ARGUMENT', 'progress is a fraction from 0 to 1');
    }
    if (typeof label !== 'string') throw new CabanaError('INVALID_ARGUMENT', 'the label of a progress is text');
    if (!this.#left) this.#status.progress(Math.min(fraction, 1), label);
  }

  report(figures: AgentReport): void {
    assertFields(figures, 'figures');
    const { costUsd, latencyMs, subModelOptions, ...labels } = figures;
    const stats: Partial<SessionStats> = {};
    for (const [field, value] of Object.entries(labels)) {
      if (value === undefined) continue;
      if (!LABELS.includes(field as keyof typeof labels)) {
        throw new CabanaError('INVALID_ARGUMENT', `there is no figure "${field}"`);
      }
      Object.assign(stats, { [field]: label(value, field) });
    }
    if (subModelOptions !== undefined) {
      if (!Array.isArray(subModelOptions) || subModelOptions.length > SUB_MODELS_MAX) {
        throw new CabanaError('INVALID_ARGUMENT', `subModelOptions is an array of at most ${SUB_MODELS_MAX}`);
      }
      stats.subModelOptions = subModelOptions.map((option) => label(option, 'subModelOptions'));
    }
    if (latencyMs !== undefined) stats.latestLatencyMs = amount(latencyMs, 'latencyMs');
    if (costUsd !== undefined)
      stats.totalCostUsd = amount(this.#status.stats.totalCostUsd + amount(costUsd, 'costUsd'), 'the total of costUsd');
    if (this.#left) return;
    this.#status.report(stats);
    this.#events.report(this.sessionId, this.history.epoch, stats);
  }

  rename(name: string): void {
    if (typeof name !== 'string' || name.length > NAME_MAX_CHARS) {
      throw new CabanaError('INVALID_ARGUMENT', `a name is text of at most ${NAME_MAX_CHARS} characters`);
    }
    if (this.#left) return;
    const calledAt = instantMs();
    // As the store will give it back, which keeps no half of a character.
    const given = name.toWellFormed();
    this.#renamed(given, calledAt);
    this.#events.rename(this.sessionId, this.history.epoch, { name: given, calledAt });
  }

  get log(): AgentLog {
    return new ContextLog(this.sessionId, this.#events);
  }
}

class ContextLog implements AgentLog {
  readonly #sessionId: string;
  readonly #events: EventSender;

  constructor(sessionId: string, events: EventSender) {
    this.#sessionId = sessionId;
    this.#events = events;
  }

  debug(message: string, fields?: Record<string, unknown>): void {
    this.#line('debug', message, fields);
  }

  info(message: string, fields?: Record<string, unknown>): void {
    this.#line('info', message, fields);
  }

  warn(message: string, fields?: Record<string, unknown>): void {
    this.#line('warn', message, fields);
  }

  error(message: string, fields?: Record<string, unknown>): void {
    this.#line('error', message, fields);
  }

  #line(level: AgentLogLevel, message: string, fields: Record<string, unknown> | undefined): void {
    // As JSON: a function or a proxy among the fields must not spoil the batch that carries the line.
    const json = fields ? jsonOf(fields) : null;
    const safe = json === null ? null : (JSON.parse(json) as Record<string, unknown>);
    const text = String(message).slice(0, LOG_MESSAGE_MAX_CHARS);
    this.#events.log(this.#sessionId, { level, message: text, fields: safe }, text.length + (json?.length ?? 0));
  }
}

function jsonOf(fields: unknown): string {
  const json = wholeJsonOf(fields);
  return json.length > LOG_FIELDS_MAX_CHARS ? JSON.stringify({ cut: json.slice(0, LOG_FIELDS_MAX_CHARS) }) : json;
}

function wholeJsonOf(fields: unknown): string {
  try {
    return JSON.stringify(asFields(fields), function (this: unknown, key, value) {
      // JSON sees nothing of an Error.
      return isA(value, Error) ? toWire(value) : jsonSafe.call(this, key, value);
    });
  } catch (error) {
    // Logging must not throw into the agent's code.
    return JSON.stringify({ unloggable: messageOf(error) });
  }
}

/** What an agent gave as the fields of a line, which need not be fields. */
function asFields(fields: unknown): object {
  if (isA(fields, Error)) return { err: fields };
  return Object(fields) === fields ? { ...(fields as object) } : { fields };
}

/** @throws CabanaError INVALID_ARGUMENT */
function label(value: unknown, field: string): string {
  if (typeof value === 'string' && value.length <= LABEL_MAX_CHARS) return value;
  throw new CabanaError('INVALID_ARGUMENT', `${field} is text of at most ${LABEL_MAX_CHARS} characters`);
}

function amount(value: number, what: string): number {
  if (Number.isFinite(value) && value >= 0) return value;
  throw new CabanaError('INVALID_ARGUMENT', `${what} is a finite number, 0 or more`);
}
