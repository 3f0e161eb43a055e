// Who may run now: the line of sessions with a run that is due, the limit of running agents, and the threads' cpu slots.
//
// A session stands in line at most once, with its oldest waiting run; after a run it goes to the end. So a session with a
// thousand queued runs does not delay another's first. Only when nobody waits for a first run, a session whose backlog
// decides how long the whole takes (isCritical) goes on at once.
//
// Suspects (suspicion.ts) are admitted to half of the threads only. Nobody waits for ever: when one is not admitted, those
// threads are busy, or dead for a moment, and the end of each run and each new thread looks at the line again.

import { monotonic, type Clock } from '../../clock.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import { LINE_WINDOW, isCritical, isFree, pickDue, successorOn } from '../../pool/placement.js';
import type { Suspicion } from '../../pool/suspicion.js';
import type { Session } from '../sessions/session.js';
import { Line, PlaceInLine } from './line.js';

export interface Admitted {
  session: Session;
  thread: AgentThread;
  load: 'cpu' | 'io';
}

export interface AdmissionParts {
  maxRunningAgents: number;
  threads: () => readonly AgentThread[];
  /** How many runs of all sessions are not over. */
  openRuns: () => number;
  suspicion: Suspicion;
  clock: Clock;
}

export class Admission {
  readonly maxRunningAgents: number;
  readonly #threads: () => readonly AgentThread[];
  readonly #openRuns: () => number;
  readonly #suspicion: Suspicion;
  readonly #clock: Clock;
  readonly #lines = { io: new Line(), cpu: new Line() };
  #running = 0;
  #nextNo = 0;

  constructor({ maxRunningAgents, threads, openRuns, suspicion, clock }: AdmissionParts) {
    this.maxRunningAgents = maxRunningAgents;
    this.#threads = threads;
    this.#openRuns = openRuns;
    this.#suspicion = suspicion;
    this.#clock = clock;
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
    const place = new PlaceInLine(session, load, !again, this.#suspicion, this.#nextNo++);
    line.add(place, again && this.goesOn(session));
  }

  /** Whether the session's next run follows its current one at once. */
  goesOn({ queued }: Session): boolean {
    if (this.#lines.cpu.firsts > 0) return false;
    const threads = this.#threads().filter((thread) => thread.alive).length;
    return isCritical(queued, this.#openRuns() - queued, threads);
  }

  /** A waiting run of the session is gone: the next one's priority counts. */
  reorder(session: Session): void {
    this.#lines.io.reorder(session);
    this.#lines.cpu.reorder(session);
  }

  withdraw(session: Session): void {
    this.#lines.io.delete(session);
    this.#lines.cpu.delete(session);
  }

  /** The next session that may run, with the thread where: its place is taken by this call; release() gives it back. */
  next(): Admitted | null {
    const threads = this.#threads();
    while (!this.full) {
      const picked = this.#pickFrom(this.#lineInTurn(), threads);
      if (!picked) return null;
      const { session, load } = picked.due;
      // Its thread has begun it meanwhile: it is out of the line.
      if (session.offer && !session.offer.withdraw()) continue;
      return this.#take(session, picked.thread, load);
    }
    return null;
  }

  /** Whoever is first of both lines, by priority and then by time: neither load keeps the other from running. */
  #lineInTurn(): 'io' | 'cpu' {
    const [io, cpu] = [this.#lines.io.first, this.#lines.cpu.first];
    if (!io || !cpu) return io ? 'io' : 'cpu';
    if (io.priority !== cpu.priority) return io.priority > cpu.priority ? 'io' : 'cpu';
    return io.no < cpu.no ? 'io' : 'cpu';
  }

  /** From the other line if this one has nobody who may start. */
  #pickFrom(load: 'io' | 'cpu', threads: readonly AgentThread[]): { due: PlaceInLine; thread: AgentThread } | null {
    const pick = (from: 'io' | 'cpu') =>
      from === 'io' || threads.some(isFree) ? pickDue(this.#lines[from], threads) : null;
    return pick(load) ?? pick(load === 'io' ? 'cpu' : 'io');
  }

  /** The session whose run could be offered to this busy thread. */
  successor(thread: AgentThread): Session | null {
    // An offered run takes over the place of the one before it: with no other place, that is the io line's in turn as well.
    if (this.full && this.#lines.io.size > 0) return null;
    return successorOn(this.#lines.cpu, thread)?.session ?? null;
  }

  /** Counts a run that its thread took from an offer. For a moment it and the run before it both count. */
  admitBegun(session: Session, thread: AgentThread): Admitted {
    return this.#take(session, thread, 'cpu');
  }

  #take(session: Session, thread: AgentThread, load: 'cpu' | 'io'): Admitted {
    this.#lines[load].delete(session);
    this.#running++;
    if (load === 'cpu') thread.cpuRuns++;
    return { session, thread, load };
  }

  /** Whether somebody in line, other than suspects, could run now, were there a thread. */
  get starved(): boolean {
    const threads = this.#threads();
    if (this.full || threads.some(isFree)) return false;
    // With one thread a stand-in is for suspects as well.
    const forAnybody = threads.every((thread) => thread.forSuspects);
    let seen = 0;
    for (const place of this.#lines.cpu) {
      if (forAnybody || !place.suspect) return true;
      if (seen++ >= LINE_WINDOW) break;
    }
    return false;
  }

  /**
   * The first sessions in line that are tied to a busy thread (or, as suspects, to one closed to them) while another is
   * free: they must be saved before they can move.
   * @param max how many at most
   * @param except those that are on their way already
   */
  tied(max: number, except: ReadonlySet<Session>): Session[] {
    if (!this.#threads().some(isFree)) return [];
    const now = monotonic(this.#clock);
    const tied: Session[] = [];
    let seen = 0;
    for (const place of this.#lines.cpu) {
      if (tied.length >= max || seen++ >= LINE_WINDOW) break;
      const { session, home, movable } = place;
      if (!home || movable || session.isLocked || except.has(session)) continue;
      // One that could not be saved waits for the next try, or for its home.
      if (session.saveRetryAt > now) continue;
      if (!isFree(home) || (place.suspect && !home.forSuspects)) tied.push(session);
    }
    return tied;
  }

  /** A run is over, or could not start: what next() took is free again. */
  release(admitted: Admitted): void {
    this.#running--;
    if (admitted.load === 'cpu') admitted.thread.cpuRuns--;
  }

  /** The session turned out to live on another thread that is free: its run takes place there. */
  moveTo(admitted: Admitted, thread: AgentThread): void {
    if (admitted.load === 'cpu') {
      admitted.thread.cpuRuns--;
      thread.cpuRuns++;
    }
    admitted.thread = thread;
  }
}
