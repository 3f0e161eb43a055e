// The runs that are not over, by session and id; their numbers; and how many bytes of input they hold in memory.

import { QUEUED_INPUT_MAX_BYTES } from '../../../protocol/limits.js';
import { Run } from './run.js';
import type { Session } from './session.js';

export class RunTable {
  readonly #sessions = new Map<string, Map<string, Run>>();
  #size = 0;
  #nextNo = 1;
  #inputBytes = 0;
  #acceptingBytes = 0;

  get size(): number {
    return this.#size;
  }

  /** A new run with the next number. Not yet in the table. */
  make(sessionId: string, runId: string, input: Uint8Array | null, resumed = false): Run {
    const no = this.#nextNo;
    this.#nextNo = no === 0x7fffffff ? 1 : no + 1;
    return new Run(sessionId, runId, no, input, resumed);
  }

  get(sessionId: string, runId: string): Run | undefined {
    return this.#sessions.get(sessionId)?.get(runId);
  }

  /** Those of one session, in the order in which they came. */
  of(sessionId: string): Run[] {
    return [...(this.#sessions.get(sessionId)?.values() ?? [])];
  }

  has(run: Run): boolean {
    return this.get(run.sessionId, run.id) === run;
  }

  add(run: Run): void {
    const runs = this.#sessions.get(run.sessionId) ?? new Map<string, Run>();
    runs.set(run.id, run);
    this.#sessions.set(run.sessionId, runs);
    this.#size++;
    this.#inputBytes += run.input?.byteLength ?? 0;
  }

  /** Bytes of inputs that are on their way to the disk. */
  get acceptingBytes(): number {
    return this.#acceptingBytes;
  }

  /** The run's input is on its way to the disk, until what this returns is called. */
  accepting(run: Run): () => void {
    const bytes = run.input?.byteLength ?? 0;
    this.#acceptingBytes += bytes;
    return () => (this.#acceptingBytes -= bytes);
  }

  /** Inputs of accepted runs are on disk: beyond a bound memory lets go of them, and the thread reads them there. */
  shedInput(run: Run): void {
    if (this.#inputBytes > QUEUED_INPUT_MAX_BYTES) this.dropInput(run);
  }

  /** Memory lets go of the input: its thread has it, or reads it from the store. */
  dropInput(run: Run): void {
    this.#inputBytes -= run.input?.byteLength ?? 0;
    run.input = null;
  }

  /** The run is over, or was refused. */
  forget(session: Session | undefined, run: Run): void {
    if (this.has(run)) {
      const runs = this.#sessions.get(run.sessionId)!;
      runs.delete(run.id);
      this.#size--;
      if (runs.size === 0) this.#sessions.delete(run.sessionId);
    }
    if (session && session.queued > 0) session.mailbox.remove(run);
    this.dropInput(run);
  }

  /** Takes out all of them. */
  clear(): Run[] {
    const runs = [...this.#sessions.values()].flatMap((of) => [...of.values()]);
    this.#sessions.clear();
    this.#size = 0;
    return runs;
  }
}
