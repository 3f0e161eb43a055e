// Who may run now: the line of sessions with a run that is due, the limit of running agents, and the threads' cpu slots.
//
// A session stands in line at most once, with its oldest waiting run; after a run it goes to the end. So a session with a
// thousand queued runs does not delay another's first.

import type { AgentThread } from '../pool/agent-thread.js';
import { pickDue, type Due } from '../pool/placement.js';
import type { Session } from './session.js';

class Place implements Due<AgentThread> {
  skips = 0;
  constructor(
    readonly session: Session,
    readonly load: 'cpu' | 'io',
  ) {}

  get home(): AgentThread | null {
    return this.session.isLive ? (this.session.place?.thread ?? null) : null;
  }

  get movable(): boolean {
    return this.session.clean && !this.session.isLocked;
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
  readonly #lines = { io: new Map<Session, Place>(), cpu: new Map<Session, Place>() };
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
    if (!this.#lines[load].has(session)) this.#lines[load].set(session, new Place(session, load));
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
    const picked =
      pickDue(this.#lines.io.values(), threads) ?? (free ? pickDue(this.#lines.cpu.values(), threads) : null);
    if (!picked) return null;
    const { session, load } = picked.due;
    this.#lines[load].delete(session);
    this.#running++;
    if (load === 'cpu') picked.thread.cpuBusy = true;
    return { session, thread: picked.thread, load };
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
