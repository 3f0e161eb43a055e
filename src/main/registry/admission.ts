// Who may run now: the line of sessions with a run that is due, the limit of running agents, and the threads' cpu slots.
//
// A session stands in line at most once, with its oldest waiting run; after a run it goes to the end. So a session with a
// thousand queued runs does not delay another's first. Only when nobody waits for a first run, a session whose backlog
// decides how long the whole takes (isCritical) goes on at once.

import type { AgentThread } from '../pool/agent-thread.js';
import { isCritical, pickDue, type Due } from '../pool/placement.js';
import type { Session } from './session.js';

class Place implements Due<AgentThread> {
  skips = 0;
  readonly session: Session;
  readonly load: 'cpu' | 'io';
  /** Whether none of its runs has been served since it came in line. */
  readonly isFirst: boolean;

  constructor(session: Session, load: 'cpu' | 'io', isFirst: boolean) {
    this.session = session;
    this.load = load;
    this.isFirst = isFirst;
  }

  get home(): AgentThread | null {
    return this.session.isLive ? (this.session.place?.thread ?? null) : null;
  }

  get movable(): boolean {
    return this.session.clean && !this.session.isLocked;
  }

  get backlog(): number {
    return this.session.queued;
  }

  get priority(): number {
    return this.session.mailbox.head?.priority ?? 0;
  }
}

/** The sessions of one priority: `ahead` before the others. */
interface Queue {
  priority: number;
  ahead: Map<Session, Place>;
  places: Map<Session, Place>;
}

/** Sessions in line: by priority, then first come, first served. */
class Line {
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
  add(place: Place, ahead: boolean): void {
    const { priority } = place;
    let queue = this.#queues.find((candidate) => candidate.priority === priority);
    if (!queue) {
      queue = { priority, ahead: new Map(), places: new Map() };
      this.#queues.push(queue);
      this.#queues.sort((a, b) => b.priority - a.priority);
    }
    queue[ahead ? 'ahead' : 'places'].set(place.session, place);
    this.#size++;
    if (place.isFirst) this.#firsts++;
  }

  delete(session: Session): void {
    for (const { ahead, places } of this.#queues) {
      const place = ahead.get(session) ?? places.get(session);
      if (!place) continue;
      ahead.delete(session);
      places.delete(session);
      this.#size--;
      if (place.isFirst) this.#firsts--;
    }
  }

  *[Symbol.iterator](): Generator<Place, void> {
    for (const { ahead, places } of this.#queues) {
      yield* ahead.values();
      yield* places.values();
    }
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
  readonly #openRuns: () => number;
  readonly #lines = { io: new Line(), cpu: new Line() };
  #running = 0;

  /** @param openRuns how many runs of all sessions are not over */
  constructor(maxRunningAgents: number, threads: () => readonly AgentThread[], openRuns: () => number) {
    this.maxRunningAgents = maxRunningAgents;
    this.#threads = threads;
    this.#openRuns = openRuns;
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

  /**
   * Puts the session in line, unless it stands there.
   * @param again it comes from a run of its own
   */
  enqueue(session: Session, load: 'cpu' | 'io', again: boolean): void {
    const line = this.#lines[load];
    if (line.has(session)) return;
    const ahead = again && line.firsts === 0 && this.#isCritical(session);
    line.add(new Place(session, load, !again), ahead);
  }

  #isCritical({ queued }: Session): boolean {
    const threads = this.#threads().filter((thread) => thread.alive).length;
    return isCritical(queued, this.#openRuns() - queued, threads);
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
