// Sessions that could run elsewhere, were they not tied to a busy thread, are asked to leave it: saved there in the
// thread's next turn, and brought up by whichever thread takes their run.

import { EVACUATE_IN_FLIGHT_AGENTS } from '../../../protocol/limits.js';
import type { Log } from '../../log.js';
import type { Departures } from '../lifecycle/departures.js';
import type { Directory } from '../sessions/directory.js';
import type { Session } from '../sessions/session.js';
import type { Admission } from './admission.js';

export interface EvacuationsParts {
  admission: Admission;
  departures: Departures;
  directory: Directory;
  log: Log;
  /** Takes charge of an evacuation. */
  track: (task: Promise<void>) => void;
  /** Runs may have found a place. */
  onMoved: () => void;
}

export class Evacuations {
  readonly #parts: EvacuationsParts;
  readonly #leaving = new Set<Session>();

  constructor(parts: EvacuationsParts) {
    this.#parts = parts;
  }

  /** Asks as many as may be on their way at once. */
  begin(): void {
    const { admission, track } = this.#parts;
    for (const session of admission.tied(EVACUATE_IN_FLIGHT_AGENTS - this.#leaving.size, this.#leaving)) {
      this.#leaving.add(session);
      track(this.#evacuate(session));
    }
  }

  async #evacuate(session: Session): Promise<void> {
    const { departures, directory, log, onMoved } = this.#parts;
    try {
      await departures.evacuate(session);
    } catch (error) {
      // It stays where it is and runs there, later; its thread's death is told to everybody anyway.
      log.warn({ err: error, sessionId: session.id }, 'a session could not be moved');
    }
    this.#leaving.delete(session);
    directory.touch(session);
    onMoved();
  }
}
