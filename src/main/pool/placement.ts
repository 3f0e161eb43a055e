// Where a session's next run goes: pure decisions over what main knows of threads and sessions.

/** What placement needs to know of a thread. */
export interface ThreadLoad {
  readonly alive: boolean;
  /** A cpu run has it. */
  readonly cpuBusy: boolean;
  /** What is there leaves: nothing more is put there. */
  readonly retiring: boolean;
  /** Whether suspects' runs may begin there. */
  readonly forSuspects: boolean;
  readonly sessions: number;
}

/** Whether a cpu run may begin there now. */
export function isFree({ alive, cpuBusy, retiring }: ThreadLoad): boolean {
  return alive && !cpuBusy && !retiring;
}

/** What placement needs to know of a session whose run is due. */
export interface Due<T extends ThreadLoad> {
  /** The thread where its agent lives; null: nowhere yet. */
  home: T | null;
  load: 'cpu' | 'io';
  /** Whether another thread could take over at once: everything since the last snapshot is in it. */
  movable: boolean;
  /** It could not be saved lately: nowhere but at home may its run begin. */
  homebound: boolean;
  /** It is being saved to leave memory: until that has ended no thread is kept for it. */
  leaving: boolean;
  /** Whether it may use the threads for suspects only (suspicion.ts). */
  suspect: boolean;
  /** Runs that wait in the session. */
  backlog: number;
  /** Whether the session prefers this thread; it takes another if it must. */
  suits(thread: T): boolean;
}

/**
 * The least busy live thread: one without a cpu run before one with, then one that suits, then the one with the fewest
 * sessions.
 */
export function leastBusy<T extends ThreadLoad>(
  threads: Iterable<T>,
  suits: (thread: T) => boolean = () => true,
): T | null {
  let best: T | null = null;
  for (const thread of threads) if (thread.alive && (!best || isBetter(thread, best, suits))) best = thread;
  return best;
}

function isBetter<T extends ThreadLoad>(thread: T, than: T, suits: (thread: T) => boolean): boolean {
  if (thread.cpuBusy !== than.cpuBusy) return than.cpuBusy;
  const does = suits(thread);
  return does === suits(than) ? thread.sessions < than.sessions : does;
}

/**
 * The thread on which a due run may start now; null: it has to wait.
 * A session stays on its home thread if that is free. If home is busy and another thread is free, it moves there if it
 * can (movable).
 */
export function placeRun<T extends ThreadLoad>(due: Due<T>, threads: readonly T[]): T | null {
  if (due.leaving) return null;
  const home = due.home?.alive ? due.home : null;
  const mayStay = home !== null && (due.homebound || (!home.retiring && allows(due, home)));
  if (mayStay && !home.cpuBusy) return home;
  if (due.load === 'io') return placeIo(due, mayStay ? home : null, threads);
  if (home && !due.movable) return null;
  const best = bestFor(due, threads);
  return best && isFree(best) ? best : null;
}

function allows<T extends ThreadLoad>(due: Due<T>, thread: T): boolean {
  return thread.forSuspects || !due.suspect;
}

/**
 * It shares a thread with others, but not with a cpu run that holds it, if it can help it.
 * @param home where it may stay
 */
function placeIo<T extends ThreadLoad>(due: Due<T>, home: T | null, threads: readonly T[]): T | null {
  if (due.home?.alive && !due.movable) return home;
  const best = bestFor(due, threads);
  return home && best?.cpuBusy ? home : best;
}

function bestFor<T extends ThreadLoad>(due: Due<T>, threads: readonly T[]): T | null {
  const allowed = due.suspect ? threads.filter(({ forSuspects }) => forSuspects) : threads;
  return leastBusy(allowed, (thread) => due.suits(thread));
}

/** How much of the line is looked at in all. */
export const LINE_WINDOW = 1024;
/** How far past the head of the line a session is looked for that need not move. */
export const AFFINITY_WINDOW = 32;
/** How often the head of the line may be passed over for such a session. */
export const AFFINITY_MAX_SKIPS = 8;

/**
 * Picks from a line of due sessions, oldest first, one that may start now, and where. A session that would have to move
 * is passed over a bounded number of times for a younger one that is at home on a free thread: under load, moving
 * everything would cost more than the order is worth. If one has to move, it is the one with the most runs waiting in the
 * part of the line that was looked at: its later runs need not move then.
 */
export function pickDue<T extends ThreadLoad, D extends Due<T> & { skips: number }>(
  line: Iterable<D>,
  threads: readonly T[],
): { due: D; thread: T } | null {
  let oldest: D | null = null;
  let mover: { due: D; thread: T } | null = null;
  let looked = 0;
  let seen = 0;
  const forSuspects = threads.some((thread) => thread.forSuspects && isFree(thread));
  for (const due of line) {
    if (seen++ >= LINE_WINDOW || (oldest && looked++ >= AFFINITY_WINDOW)) break;
    if (due.load === 'cpu' && !forSuspects && !due.homebound && due.suspect) continue;
    const thread = placeRun(due, threads);
    if (!thread) continue;
    const stays = due.home === null || due.home === thread || !due.home.alive;
    if (stays) {
      if (oldest) oldest.skips++;
      return { due, thread };
    }
    oldest ??= due;
    if (!mover || due.backlog > mover.due.backlog) mover = { due, thread };
    if (oldest.skips >= AFFINITY_MAX_SKIPS) break;
  }
  if (oldest && mover && mover.due !== oldest) oldest.skips++;
  return mover;
}

/**
 * The due session that would start next on this busy thread without having to move or to be brought up, so that it can be
 * offered to the thread beforehand; null: somebody else's turn comes first, or nobody at home there is in the part of the
 * line that is looked at.
 */
export function successorOn<T extends ThreadLoad, D extends Due<T> & { skips: number; ready: boolean }>(
  line: Iterable<D>,
  thread: T,
): D | null {
  let oldest: D | null = null;
  let looked = 0;
  for (const due of line) {
    if (due.home === thread && due.ready && allows(due, thread)) {
      if (oldest) oldest.skips++;
      return due;
    }
    if (due.leaving) continue;
    if (!due.home?.alive || looked++ >= AFFINITY_WINDOW) return null;
    if (due.movable) oldest ??= due;
    if (oldest && oldest.skips >= AFFINITY_MAX_SKIPS) return null;
  }
  return null;
}

/**
 * Whether suspects may have the thread of this number: the last half of the configured ones (one, if there are two or
 * three). The others are left to whoever behaves, stand-ins included. With one thread there is no choice.
 */
export function isForSuspects(no: number, threads: number): boolean {
  return threads === 1 || (no >= Math.ceil(threads / 2) && no < threads);
}

/** Safety factor: a pause in the longest chain is never made up, so count a session as critical a little early. */
const CRITICAL_MARGIN = 1.25;

/**
 * Whether a session's queued runs are the critical path: run one after another, they take about as long as all other
 * runs on the remaining threads, or longer. Then every pause of it makes the whole last longer, as in any list
 * schedule: the longest chain first.
 * @param others runs of all other sessions that are not over
 */
export function isCritical(backlog: number, others: number, threads: number): boolean {
  return threads > 1 && backlog * (threads - 1) * CRITICAL_MARGIN > others;
}
