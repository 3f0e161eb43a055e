// What the end of each look of the watchdog means for those who wait for a thread: none of them waits for one that is held
// up by a run that does not mind its interrupt, or for one that it was kept from by a suspicion which is over.

import type { AgentThread } from '../pool/agent-thread.js';
import type { Suspicion } from '../pool/suspicion.js';
import type { Activations } from './lifecycle/activations.js';
import type { Admission } from './runs/admission.js';
import type { Dispatcher } from './runs/dispatcher.js';
import type { Execution } from './runs/execution.js';

export interface ReliefParts {
  suspicion: Suspicion;
  dispatcher: Dispatcher;
  activations: Activations;
  admission: Admission;
  /** Provides stand-ins for the threads that are held up. */
  standIn: (heldUp: ReadonlySet<AgentThread>, starved: boolean) => void;
}

export class Relief {
  readonly #parts: ReliefParts;

  constructor(parts: ReliefParts) {
    this.#parts = parts;
  }

  /** @param deaf the runs that do not mind their interrupts, and hold their threads up */
  looked(deaf: readonly Execution[]): void {
    const { suspicion, dispatcher, activations, admission, standIn } = this.#parts;
    for (const { session } of deaf) suspicion.trouble(session.id);
    if (suspicion.takeEasing()) dispatcher.fill();
    activations.spread();
    const heldUp = new Set(deaf.map(({ thread }) => thread));
    standIn(heldUp, admission.starved || activations.waitFor(heldUp));
  }
}
