// Looks at the status table and at the runs in progress, and has the misbehaving ones dealt with. It never asks a thread:
// a thread that hangs could not answer.
//
//   watchdog -> verdict (verdict.ts) -> rescue (registry/rescue.ts) -> replace (thread-group.ts)
//                                    -> meanwhile, if others wait: stand in (stand-ins.ts)

import { HANG_MAX_MS } from '../../protocol/limits.js';
import type { StatusTable } from '../../protocol/status-table.js';
import type { LiveTime } from '../clock.js';
import type { AgentThread } from './agent-thread.js';
import { hangs, judgeRun, type WatchedRun } from './verdict.js';

/** A run in progress with the thread that executes it. */
export interface InProgress extends WatchedRun {
  thread: AgentThread;
}

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
  /** @param culprit null: the thread hangs outside of any run */
  onGiveUp: (thread: AgentThread, culprit: R | null) => void;
  /** At the end of each look: the runs that do not mind their interrupts, and hold their threads up. */
  onLooked: (deaf: readonly R[]) => void;
}

export class Watchdog<R extends InProgress> {
  readonly #parts: WatchdogParts<R>;
  /** The last heartbeat seen of each thread, and when it changed. */
  readonly #beats = new Map<AgentThread, { beat: number; at: number }>();

  constructor(parts: WatchdogParts<R>) {
    this.#parts = parts;
  }

  /** One look. */
  look(): void {
    const { time, graceMs, onTimeout, onAbandon, onGiveUp, onLooked, threads, inProgress } = this.#parts;
    const now = time.now();
    const ages = this.#ages(now);
    const givenUp = new Set<AgentThread>();
    const deaf: R[] = [];
    for (const run of inProgress()) {
      const { thread } = run;
      if (!thread.alive || givenUp.has(thread)) continue;
      const signs = { beatAgeMs: ages.get(thread) ?? 0, cpuBusy: thread.cpuBusy };
      const verdict = judgeRun(run, signs, now, graceMs);
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
      const beatAgeMs = ages.get(thread) ?? 0;
      if (hangs({ beatAgeMs, cpuBusy: thread.cpuBusy }, HANG_MAX_MS)) onGiveUp(thread, null);
    }
    onLooked(deaf);
  }

  /** Milliseconds since each live thread's heartbeat last changed. */
  #ages(now: number): Map<AgentThread, number> {
    const ages = new Map<AgentThread, number>();
    const alive = this.#parts.threads().filter((thread) => thread.alive);
    for (const known of this.#beats.keys()) if (!alive.includes(known)) this.#beats.delete(known);
    for (const thread of alive) {
      const beat = this.#parts.table.getThread(thread.no, 'heartbeat');
      const seen = this.#beats.get(thread);
      if (seen?.beat === beat) {
        ages.set(thread, now - seen.at);
      } else {
        this.#beats.set(thread, { beat, at: now });
        ages.set(thread, 0);
      }
    }
    return ages;
  }
}
