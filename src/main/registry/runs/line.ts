// The line of sessions with a run that is due: by priority, then first come, first served.

import { AHEAD_MAX_TIMES } from '../../../protocol/limits.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import type { Due } from '../../pool/placement.js';
import type { Suspicion } from '../../pool/suspicion.js';
import type { Session } from '../sessions/session.js';

export class PlaceInLine implements Due<AgentThread> {
  skips = 0;
  readonly session: Session;
  readonly load: 'cpu' | 'io';
  /** Whether none of its runs has been served since it came in line. */
  readonly isFirst: boolean;
  /** In the order in which they came, whichever the line. */
  readonly no: number;
  readonly #suspicion: Suspicion;

  constructor(session: Session, load: 'cpu' | 'io', isFirst: boolean, suspicion: Suspicion, no: number) {
    this.no = no;
    this.session = session;
    this.load = load;
    this.isFirst = isFirst;
    this.#suspicion = suspicion;
  }

  get suspect(): boolean {
    return this.#suspicion.suspects(this.session.id);
  }

  get homebound(): boolean {
    return this.session.saveFailures > 0;
  }

  get leaving(): boolean {
    return this.session.state === 'flushing';
  }

  suits(thread: AgentThread): boolean {
    return this.#suspicion.suits(this.session.id, thread);
  }

  get home(): AgentThread | null {
    return this.session.isLive ? (this.session.place?.thread ?? null) : null;
  }

  get movable(): boolean {
    return this.session.clean && !this.session.isLocked;
  }

  /** Nothing but a free thread is missing for its run to begin. */
  get ready(): boolean {
    const { session } = this;
    if (session.state !== 'idle' || session.current || session.isLocked || session.compaction) return false;
    const run = session.mailbox.head;
    return session.quarantine === null && run !== undefined && run.isAccepted && run.interruptReason === null;
  }

  get backlog(): number {
    return this.session.queued;
  }

  get priority(): number {
    return this.session.mailbox.head?.terms.priority ?? 0;
  }
}

/** The sessions of one priority: `ahead` before the others. */
interface Queue {
  priority: number;
  /** How often in a row somebody left `ahead` while others stood behind. */
  passed: number;
  ahead: Map<Session, PlaceInLine>;
  places: Map<Session, PlaceInLine>;
}

export class Line {
  /** One queue per priority that was ever used, highest first. */
  readonly #queues: Queue[] = [];
  #size = 0;
  #firsts = 0;

  get size(): number {
    return this.#size;
  }

  /** Places of sessions of which no run has been served yet. */
  get firsts(): number {
    return this.#firsts;
  }

  has(session: Session): boolean {
    return this.#queues.some(({ ahead, places }) => ahead.has(session) || places.has(session));
  }

  /** @param ahead before the others of its priority */
  add(place: PlaceInLine, ahead: boolean): void {
    const { priority } = place;
    let queue = this.#queues.find((candidate) => candidate.priority === priority);
    if (!queue) {
      queue = { priority, passed: 0, ahead: new Map(), places: new Map() };
      this.#queues.push(queue);
      this.#queues.sort((a, b) => b.priority - a.priority);
    }
    queue[ahead ? 'ahead' : 'places'].set(place.session, place);
    this.#size++;
    if (place.isFirst) this.#firsts++;
  }

  /** Puts the session where the priority of its next run belongs; behind the others there, if that is another place. */
  reorder(session: Session): void {
    for (const { priority, ahead, places } of this.#queues) {
      const place = ahead.get(session) ?? places.get(session);
      if (!place) continue;
      if (place.priority === priority) return;
      this.delete(session);
      return this.add(place, false);
    }
  }

  delete(session: Session): void {
    for (const queue of this.#queues) {
      const { ahead, places } = queue;
      const place = ahead.get(session) ?? places.get(session);
      if (!place) continue;
      queue.passed = places.has(session) || places.size === 0 ? 0 : queue.passed + 1;
      ahead.delete(session);
      places.delete(session);
      this.#size--;
      if (place.isFirst) this.#firsts--;
    }
  }

  get first(): PlaceInLine | null {
    for (const place of this) return place;
    return null;
  }

  *[Symbol.iterator](): Generator<PlaceInLine, void> {
    for (const { ahead, places, passed } of this.#queues) {
      const [first] = passed < AHEAD_MAX_TIMES ? [] : places.values();
      if (first) yield first;
      yield* ahead.values();
      for (const place of places.values()) if (place !== first) yield place;
    }
  }
}
