// A session's runs that wait for their turn: first in, first out. The bound is on what is sent: what has been accepted is
// never refused, though it is taken back, or taken over from an earlier process, beside a full mailbox.

import { CabanaError } from '../../../protocol/errors.js';
import { MAILBOX_MAX_RUNS } from '../../../protocol/limits.js';
import type { Run } from './run.js';

export class Mailbox {
  readonly #runs: Run[] = [];
  readonly #maxRuns: number;

  constructor(maxRuns = MAILBOX_MAX_RUNS) {
    this.#maxRuns = maxRuns;
  }

  get size(): number {
    return this.#runs.length;
  }

  /** The run whose turn is next. */
  get head(): Run | undefined {
    return this.#runs[0];
  }

  /** @throws CabanaError MAILBOX_FULL */
  push(run: Run): void {
    if (this.#runs.length >= this.#maxRuns) {
      throw new CabanaError('MAILBOX_FULL', `session ${run.sessionId} has ${this.#maxRuns} runs waiting`);
    }
    this.#runs.push(run);
  }

  /** Behind the others, whatever the bound: an earlier process has accepted it. */
  pushAnyway(run: Run): void {
    this.#runs.push(run);
  }

  /** Back to the front: it was taken, and could not start. */
  unshift(run: Run): void {
    this.#runs.unshift(run);
  }

  shift(): Run | undefined {
    return this.#runs.shift();
  }

  /** False if it is not waiting here. */
  remove(run: Run): boolean {
    const index = this.#runs.indexOf(run);
    if (index >= 0) this.#runs.splice(index, 1);
    return index >= 0;
  }

  find(runId: string): Run | undefined {
    return this.#runs.find((run) => run.id === runId);
  }

  /** They do not wait here any more. */
  takeAll(): Run[] {
    return this.#runs.splice(0);
  }
}
