// One run as main tracks it, from send() to its outcome.

import { decodeValue } from '../../../protocol/codec.js';
import type { RunRequest, RunTerms, StoredRun } from '../../../protocol/control.js';
import { messageOf, type CabanaError } from '../../../protocol/errors.js';
import type { InterruptReason } from '../../../protocol/interrupt.js';
import { isTerminal, type RunInfo, type RunState } from '../../../protocol/session.js';
import { delay, type Clock } from '../../clock.js';

export const WHEN_BUSY = ['enqueue', 'reject', 'interrupt'] as const;
/** What to do while the session has a run: wait in line, refuse, or wait in line and have the current run stop. */
export type WhenBusy = (typeof WHEN_BUSY)[number];

/** A promise with its ends outside. A rejection that nobody awaits is not an unhandled one. */
class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever holds the promise sees the rejection; a caller who only wanted the other promise need not.
    this.promise.catch(() => undefined);
  }
}

/** The run's thread is gone, or was taken from it. */
export interface Loss {
  /** Whether this run was the cause; null: nobody is known to be. */
  isCulprit: boolean | null;
  error: CabanaError;
}

export class Run {
  readonly sessionId: string;
  readonly id: string;
  /** Host-wide number, not given again before 2^31 others: what an interrupt in the status table names. */
  readonly no: number;
  /** The encoded input entry; null when it is read from the store instead. */
  input: Uint8Array | null;
  inputSeq = 0;
  readonly resumed: boolean;
  /** Asked to stop, and why; also before it has started. */
  interruptReason: InterruptReason | null = null;
  /** On disk; it may start. */
  isAccepted = false;
  /** When it was told to stop, in milliseconds of LiveTime: the watchdog measures from there. */
  interruptedAt: number | null = null;
  /** How often it was handed to a thread that died before it began. */
  startFailures = 0;
  /** How often it was started again because a neighbour took its thread down. */
  retries = 0;
  /** What its sender asked for. */
  terms: RunTerms = { timeoutMs: null, priority: 0 };
  /** The thread has reported its end; the store has told that its outcome is durable. It is over when both have. */
  #reported = false;
  #stored: StoredRun | null = null;
  #startedAt: number | null = null;
  readonly #accepted = new Deferred<RunInfo>();
  readonly #result = new Deferred<RunInfo>();
  /** Made by the first who waits for a while only. */
  #waiting: Set<() => void> | null = null;
  #lost = new Deferred<never>();
  #loss: Loss | null = null;

  constructor(sessionId: string, id: string, no: number, input: Uint8Array | null, resumed = false) {
    this.sessionId = sessionId;
    this.id = id;
    this.no = no;
    this.input = input;
    this.resumed = resumed;
  }

  /** Resolves when the input is on disk; rejects when the run was refused. */
  get accepted(): Promise<RunInfo> {
    return this.#accepted.promise;
  }

  /**
   * Resolves with the outcome once it is on disk. Rejects if the run was refused, if the host closes (or its storage
   * fails) before the run has ended, or if the outcome could not be stored.
   */
  get result(): Promise<RunInfo> {
    return this.#result.promise;
  }

  /**
   * `result`, if it is there within so many milliseconds of the clock; else undefined. A promise keeps whatever waits for
   * it until it is settled, a wait that was given up as well, and a run may go on for days while clients poll it. Of this
   * wait nothing is left when the time is up.
   */
  async resultWithin(clock: Clock, ms: number): Promise<RunInfo | undefined> {
    const { elapsed, stop } = delay(clock, ms);
    const waits = this.#waits();
    waits.add(stop);
    await elapsed;
    // Nobody has stopped it: the time is up.
    return waits.delete(stop) ? undefined : this.result;
  }

  /** What ends each wait for the result. */
  #waits(): Set<() => void> {
    if (this.#waiting) return this.#waiting;
    const waiting = new Set<() => void>();
    const end = (): void => {
      // Whoever comes later begins anew, and is told at once.
      this.#waiting = null;
      for (const stop of waiting) stop();
      waiting.clear();
    };
    this.result.then(end, end);
    return (this.#waiting = waiting);
  }

  get info(): RunInfo {
    // The store may have its outcome before its thread's report is read, and even before main knows that it has begun.
    if (this.#stored && this.isOver) return toRunInfo(this.#stored);
    const state: RunState = this.#startedAt === null ? 'queued' : 'running';
    return {
      id: this.id,
      state,
      output: null,
      error: null,
      code: null,
      startedAt: iso(this.#startedAt),
      endedAt: null,
    };
  }

  /** @param offer its number as an offer; 0: it is to begin at once */
  request(offer: number): RunRequest {
    const { sessionId, no, id, input, inputSeq, resumed } = this;
    return { sessionId, runNo: no, runId: id, input, inputSeq, resumed, offer };
  }

  accept(run: StoredRun): void {
    this.isAccepted = true;
    this.inputSeq = run.inputSeq;
    this.#accepted.resolve(toRunInfo(run));
  }

  start(at: number): void {
    this.#startedAt = at;
  }

  /** It is queued again. */
  restart(): void {
    this.#startedAt = null;
    this.#lost = new Deferred();
    this.#loss = null;
  }

  /** Rejects when the run is taken from its thread. */
  get lost(): Promise<never> {
    return this.#lost.promise;
  }

  /** Its outcome is told, or about to be in this turn. */
  get isOver(): boolean {
    return this.#reported && this.#stored !== null && isTerminal(this.#stored.state);
  }

  /** Its thread has reported it, and its outcome has yet to be on disk. */
  get awaitsStore(): boolean {
    return this.#reported && !this.isOver;
  }

  get loss(): Loss | null {
    return this.#loss;
  }

  /** Nobody waits for its thread any more. */
  lose(loss: Loss): void {
    if (this.#loss) return;
    this.#loss = loss;
    this.#lost.reject(loss.error);
  }

  /** It never came to be. */
  refuse(error: Error): void {
    this.#accepted.reject(error);
    this.#result.reject(error);
  }

  /** Its end will not be heard of here: it waits on disk for the next host, or its outcome could not be stored. */
  unfollow(error: Error): void {
    this.#result.reject(error);
  }

  /** The thread has sent everything of this run. True when the run is over with that. */
  reported(): boolean {
    this.#reported = true;
    return this.#endIfBoth();
  }

  /** The outcome is on disk. True when the run is over with that. */
  stored(run: StoredRun): boolean {
    this.#stored = run;
    return this.#endIfBoth();
  }

  /** Ended without its thread, or known from before: nothing more will be reported. */
  end(run: StoredRun): void {
    this.#reported = true;
    this.#stored = run;
    this.#endIfBoth();
  }

  #endIfBoth(): boolean {
    if (!this.#reported || !this.#stored || !isTerminal(this.#stored.state)) return false;
    const info = toRunInfo(this.#stored);
    this.#accepted.resolve(info);
    this.#result.resolve(info);
    return true;
  }
}

/** An output that cannot be decoded costs itself alone: the run is over all the same, and says why there is none. */
export function toRunInfo(run: StoredRun): RunInfo {
  const info: RunInfo = {
    id: run.runId,
    state: run.state,
    output: null,
    error: run.error,
    code: run.code,
    startedAt: iso(run.startedAt),
    endedAt: iso(run.endedAt),
  };
  try {
    if (run.output) info.output = decodeValue(run.output);
  } catch (error) {
    info.error = messageOf(error);
    info.code = 'STORE_CORRUPT';
  }
  return info;
}

function iso(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
