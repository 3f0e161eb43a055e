// Who may run now: the line of sessions with a run that is due, the limit of running agents, and the threads' cpu slots.
//
// A session stands in line at most once, with its oldest waiting run; after a run it goes to the end. So a session with a
// thousand queued runs does not delay another's first.

import type { AgentThread } from '../pool/agent-thread.js';
import { pickDue, type Due } from '../pool/placement.js';
import type { Session } from './session.js';

class Place implements Due<AgentThread> {
  skips = 0;
  readonly session: Session;
  readonly load: 'cpu' | 'io';

  constructor(session: Session, load: 'cpu' | 'io') {
    this.session = session;
    this.load = load;
  }

  get home(): AgentThread | null {
    return this.session.isLive ? (this.session.place?.thread ?? null) : null;
  }

  get movable(): boolean {
    return this.session.clean && !this.session.isLocked;
  }

  get priority(): number {
    return this.session.mailbox.head?.priority ?? 0;
  }
}

/** Sessions in line: by priority, then first come, first served. */
class Line {
  /** One queue per priority that was ever used, highest first. */
  readonly #queues: { priority: number; places: Map<Session, Place> }[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(session: Session): boolean {
    return this.#queues.some(({ places }) => places.has(session));
  }

  add(place: Place): void {
    const { priority } = place;
    let queue = this.#queues.find((candidate) => candidate.priority === priority);
    if (!queue) {
      queue = { priority, places: new Map() };
      this.#queues.push(queue);
      this.#queues.sort((a, b) => b.priority - a.priority);
    }
    queue.places.set(place.session, place);
    this.#size++;
  }

  delete(session: Session): void {
    for (const { places } of this.#queues) if (places.delete(session)) this.#size--;
  }

  *[Symbol.iterator](): Generator<Place, void> {
    for (const { places } of this.#queues) yield* places.values();
  }
}

export interface Admitted {
  session: Session;
  thread: AgentThread;
  load: 'cpu' | 'io';
}

export class Admission {
  readonly maxRunningAgents: number;
  readonly #threads: () => readonly AgentThread[];
  readonly #lines = { io: new Line(), cpu: new Line() };
  #running = 0;

  constructor(maxRunningAgents: number, threads: () => readonly AgentThread[]) {
    this.maxRunningAgents = maxRunningAgents;
    this.#threads = threads;
  }

  /** Agents that run, or are on their way to. */
  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#lines.io.size + this.#lines.cpu.size;
  }

  get full(): boolean {
    return this.#running >= this.maxRunningAgents;
  }

  /** Puts the session in line, unless it stands there. */
  enqueue(session: Session, load: 'cpu' | 'io'): void {
    if (!this.#lines[load].has(session)) this.#lines[load].add(new Place(session, load));
  }

  withdraw(session: Session): void {
    this.#lines.io.delete(session);
    this.#lines.cpu.delete(session);
  }

  /** The next session that may run, with the thread where: its place is taken by this call; release() gives it back. */
  next(): Admitted | null {
    if (this.full) return null;
    const threads = this.#threads();
    const free = threads.some((thread) => thread.alive && !thread.cpuBusy);
    const picked = pickDue(this.#lines.io, threads) ?? (free ? pickDue(this.#lines.cpu, threads) : null);
    if (!picked) return null;
    const { session, load } = picked.due;
    this.#lines[load].delete(session);
    this.#running++;
    if (load === 'cpu') picked.thread.cpuBusy = true;
    return { session, thread: picked.thread, load };
  }

  /**
   * Sessions in line that live on a busy thread and cannot be taken from it, while another thread is free: they would
   * have to be saved first. At most so many.
   */
  tied(max: number): Session[] {
    const threads = this.#threads();
    if (!threads.some((thread) => thread.alive && !thread.cpuBusy)) return [];
    const tied: Session[] = [];
    for (const { session, home, movable } of this.#lines.cpu) {
      if (tied.length >= max) break;
      if (home?.cpuBusy && !movable && !session.isLocked) tied.push(session);
    }
    return tied;
  }

  /** A run is over, or could not start: what next() took is free again. */
  release(admitted: Admitted): void {
    this.#running--;
    if (admitted.load === 'cpu') admitted.thread.cpuBusy = false;
  }

  /** The session turned out to live on another thread that is free: its run takes place there. */
  moveTo(admitted: Admitted, thread: AgentThread): void {
    if (admitted.load === 'cpu') {
      admitted.thread.cpuBusy = false;
      thread.cpuBusy = true;
    }
    admitted.thread = thread;
  }
}
