// Looks at the status table and at the runs in progress, and has the misbehaving ones dealt with. It never asks a thread:
// a thread that hangs could not answer.
//
//   watchdog -> verdict (verdict.ts) -> rescue (registry/rescue.ts) -> replace (thread-group.ts)
//                                    -> meanwhile, if others wait: stand in (stand-ins.ts)

import { HANG_MAX_MS } from '../../protocol/limits.js';
import type { StatusTable } from '../../protocol/status-table.js';
import type { LiveTime } from '../clock.js';
import type { AgentThread } from './agent-thread.js';
import { hangs, judgeRun, type ThreadSigns, type WatchedRun } from './verdict.js';

/** A run in progress with the thread that executes it. */
export interface InProgress extends WatchedRun {
  thread: AgentThread;
  /** It is looked at, at this instant. */
  look(now: number): void;
}

interface Beat {
  /** The last heartbeat that was seen, and when it changed. */
  beat: number;
  turnedAt: number;
  /** When it changed, or a cpu run was seen to have the thread. */
  stirredAt: number;
}

const NO_SIGNS: ThreadSigns = { beatAgeMs: 0, standstillMs: 0 };

export interface WatchdogParts<R extends InProgress> {
  /** All of them. */
  threads: () => readonly AgentThread[];
  table: StatusTable;
  time: LiveTime;
  graceMs: number;
  /** Everything that is being executed. */
  inProgress: () => Iterable<R>;
  onTimeout: (run: R) => void;
  onAbandon: (run: R) => void;
  /** @param culprit null: it is no run that was interrupted; the rescue looks at what the thread has entered */
  onGiveUp: (thread: AgentThread, culprit: R | null) => void;
  /** At the end of each look: the runs that do not mind their interrupts, and hold their threads up. */
  onLooked: (deaf: readonly R[]) => void;
}

export class Watchdog<R extends InProgress> {
  readonly #parts: WatchdogParts<R>;
  readonly #beats = new Map<AgentThread, Beat>();

  constructor(parts: WatchdogParts<R>) {
    this.#parts = parts;
  }

  /** One look. */
  look(): void {
    const { time, graceMs, onTimeout, onAbandon, onGiveUp, onLooked, threads, inProgress } = this.#parts;
    const now = time.now();
    for (const run of inProgress()) run.look(now);
    const signs = this.#signs(now);
    const givenUp = new Set<AgentThread>();
    const deaf: R[] = [];
    for (const run of inProgress()) {
      const { thread } = run;
      if (!thread.alive || givenUp.has(thread)) continue;
      const verdict = judgeRun(run, signs.get(thread) ?? NO_SIGNS, now, graceMs);
      switch (verdict) {
        case 'fine':
          break;
        case 'timeout':
          onTimeout(run);
          break;
        case 'deaf':
          deaf.push(run);
          break;
        case 'abandon':
          onAbandon(run);
          break;
        case 'giveUp':
          givenUp.add(thread);
          onGiveUp(thread, run);
          break;
        default:
          verdict satisfies never;
      }
    }
    for (const thread of threads()) {
      if (!thread.alive || givenUp.has(thread)) continue;
      if (hangs(signs.get(thread) ?? NO_SIGNS, HANG_MAX_MS)) onGiveUp(thread, null);
    }
    onLooked(deaf);
  }

  #signs(now: number): Map<AgentThread, ThreadSigns> {
    const { threads, table, inProgress } = this.#parts;
    const held = new Set<AgentThread>();
    for (const run of inProgress()) if (run.holds) held.add(run.thread);
    const alive = threads().filter((thread) => thread.alive);
    for (const known of this.#beats.keys()) if (!alive.includes(known)) this.#beats.delete(known);
    const signs = new Map<AgentThread, ThreadSigns>();
    for (const thread of alive) {
      const beat = table.getThread(thread.no, 'heartbeat');
      let seen = this.#beats.get(thread);
      if (seen?.beat !== beat) this.#beats.set(thread, (seen = { beat, turnedAt: now, stirredAt: now }));
      if (held.has(thread)) seen.stirredAt = now;
      signs.set(thread, { beatAgeMs: now - seen.turnedAt, standstillMs: now - seen.stirredAt });
    }
    return signs;
  }
}
