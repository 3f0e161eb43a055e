// The thread's side of a session's row in the status table.

import type { SessionStats } from '../protocol/session.js';
import type { StatusTable } from '../protocol/status-table.js';
import { LABEL_MAX_BYTES } from '../protocol/table-columns.js';
import { unixMs } from './platform.js';

export class StatusWriter {
  readonly #table: StatusTable;
  readonly #slot: number;
  /** The session's counters and reported figures; kept with each outcome. */
  readonly stats: SessionStats;
  #progress: number | null = null;
  #label = '';
  #cpuMs = 0;

  constructor(table: StatusTable, slot: number, stats: SessionStats) {
    this.#table = table;
    this.#slot = slot;
    this.stats = stats;
    this.#write();
  }

  /** Whether anybody listens to the session's events. */
  get watched(): boolean {
    return this.#table.get(this.#slot, 'watchers') > 0;
  }

  progress(fraction: number, label: string): void {
    this.#progress = fraction;
    this.#label = label.length > LABEL_MAX_BYTES ? label.slice(0, LABEL_MAX_BYTES) : label;
    this.#write();
  }

  /** What was told by a hook other than a run's ends with it. */
  clearProgress(): void {
    if (this.#progress === null) return;
    this.#progress = null;
    this.#label = '';
    this.#write();
  }

  report(stats: Partial<SessionStats>): void {
    Object.assign(this.stats, stats);
    this.#write();
  }

  runStarted(): void {
    this.#progress = null;
    this.#label = '';
    this.stats.error = null;
    this.stats.errorCode = null;
    this.#write();
  }

  runEnded(end: { latencyMs: number; cpuMs: number; error: string | null; code: string | null }): void {
    this.stats.totalTasks += 1;
    this.stats.latestLatencyMs = end.latencyMs;
    this.stats.error = end.error;
    this.stats.errorCode = end.code;
    this.#cpuMs += end.cpuMs;
    this.#progress = null;
    this.#label = '';
    this.#write();
  }

  #write(): void {
    this.#table.writeStats(this.#slot, {
      totalTasks: this.stats.totalTasks,
      totalCostUsd: this.stats.totalCostUsd,
      latestLatencyMs: this.stats.latestLatencyMs,
      progress: this.#progress,
      label: this.#label,
      cpuMs: this.#cpuMs,
      updatedAtMs: unixMs(),
    });
  }
}
