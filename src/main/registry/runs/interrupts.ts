// Asking runs to stop: the current one through the status table and a message, a waiting one by ending it at once.

import { CabanaError, codeOf } from '../../../protocol/errors.js';
import type { InterruptReason } from '../../../protocol/interrupt.js';
import { INTERRUPT_REASONS } from '../../../protocol/interrupt.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import { liveTime } from '../../clock.js';
import type { Activations } from '../lifecycle/activations.js';
import type { Admission } from './admission.js';
import type { Directory } from '../sessions/directory.js';
import type { Run } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';
import { endingOf, type Endings } from './endings.js';

export interface InterruptsParts {
  directory: Directory;
  table: StatusTable;
  endings: Endings;
  activations: Activations;
  admission: Admission;
  /** Takes charge of work that nobody awaits. */
  track: (task: Promise<void>) => void;
}

export class Interrupts {
  readonly #parts: InterruptsParts;

  constructor(parts: InterruptsParts) {
    this.#parts = parts;
  }

  /**
   * Asks the current run (or the run of this id, which may still be waiting) to stop.
   * @returns the id of the run that was asked; null: there is none
   */
  request(sessionId: string, runId?: string, reason: InterruptReason = 'request'): string | null {
    const session = this.#parts.directory.get(sessionId);
    if (!session) return null;
    // Its thread may have begun the waiting run: then that is the current one.
    session.offer?.withdraw();
    if (session.current && (runId === undefined || session.current.id === runId)) {
      return this.current(session, reason);
    }
    const waiting = runId === undefined ? undefined : session.mailbox.find(runId);
    if (!waiting) return null;
    if (!waiting.isAccepted) {
      // Its input is on the way to the disk. When it is there, intake asks again.
      waiting.interruptReason ??= reason;
      return waiting.id;
    }
    session.mailbox.remove(waiting);
    this.#parts.admission.reorder(session);
    this.#parts.track(this.#parts.endings.endUnstarted(session, waiting, endingOf(reason)));
    return waiting.id;
  }

  current(session: Session, reason: InterruptReason): string | null {
    const run = session.current;
    // One that is over keeps its place until it has left its thread.
    if (!run || run.isOver) return null;
    run.interruptReason ??= reason;
    run.interruptedAt ??= liveTime.now();
    if (session.isRunning) this.signal(session, run);
    // It has not begun: that it waits for a busy thread to bring its session up has no purpose any more.
    else this.#parts.activations.refuse(session, 'run', refusalOf(run.interruptReason));
    return run.id;
  }

  /** By the table, for code that never yields; and by a message, for code that waits. */
  signal(session: Session, run: Run): void {
    const { table } = this.#parts;
    const place = session.place;
    if (!place || !run.interruptReason) return;
    // The reason first: whoever sees the number must find its reason.
    table.set('main', place.slot, 'interruptReason', INTERRUPT_REASONS[run.interruptReason].number);
    table.set('main', place.slot, 'interruptRunNo', run.no);
    run.interruptedAt ??= liveTime.now();
    if (session.state === 'running') {
      session.interrupts++;
      table.countThread(place.thread.no, 'interrupts');
      session.publishCounters();
      session.moveTo('interrupting');
    }
    this.#parts.track(
      place.thread.calls.interrupt(session.id, run.no).catch((error: unknown) => {
        // A dead thread needs no interrupt.
        if (codeOf(error) !== 'THREAD_DIED') throw error;
      }),
    );
  }
}

function refusalOf(reason: InterruptReason): CabanaError {
  const { code, error } = endingOf(reason);
  return new CabanaError(code, error);
}
