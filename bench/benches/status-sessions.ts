// The sessions that status reads: a registry and a table as a host has them, with sessions that live in threads which are
// not there; and what every count and figure of them must be.

import { Directory } from '../../src/main/registry/sessions/directory.js';
import type { ActivationPlace, Session } from '../../src/main/registry/sessions/session.js';
import { SessionRegistry, type RegistryParts } from '../../src/main/registry/session-registry.js';
import { Slots } from '../../src/main/registry/sessions/slots.js';
import { systemClock } from '../../src/main/clock.js';
import { StatusTable, type RowStats } from '../../src/protocol/status-table.js';
import { rowStatsOf, statusAt } from '../baselines/comlink-status.js';
import type { BenchRun } from '../harness.js';

/** Not a multiple of anything, so that sessions of every status are changed. */
const CHANGES = 31;

export class LiveSessions {
  readonly table = new StatusTable();
  readonly registry: SessionRegistry;
  readonly counts = { idle: 0, running: 0, error: 0 };
  readonly #all: Session[] = [];
  /** Session `i` has the figures of `i + shift`. */
  #shift = 0;
  #changed = 0;

  constructor(readonly sessions: number) {
    const directory = new Directory(this.table, systemClock);
    this.registry = new SessionRegistry({ table: this.table, directory } as RegistryParts);
    const slots = new Slots(this.table);
    const thread = { alive: true, no: 0 } as ActivationPlace['thread'];
    for (let i = 0; i < sessions; i++) {
      const session = directory.obtain(`s${i}`);
      session.place = { ...slots.take(), thread, epoch: 1 };
      session.moveTo('restoring');
      session.moveTo('idle');
      if (statusAt(i) === 'running') session.moveTo('running');
      session.lastRunFailed = statusAt(i) === 'error';
      this.counts[statusAt(i)]++;
      this.#all.push(session);
    }
    this.#write();
  }

  get shift(): number {
    return this.#shift;
  }

  /** Gives some sessions another status: idle ones run, running ones fail, those that failed are idle. */
  changeStatuses(b: BenchRun): void {
    for (let k = 0; k < CHANGES; k++) {
      const session = this.#all[this.#changed++ % this.#all.length]!;
      const before = session.status;
      this.counts[before]--;
      if (before === 'idle') session.moveTo('running');
      else if (before === 'running') session.moveTo('idle');
      session.lastRunFailed = before === 'running';
      this.counts[({ idle: 'running', running: 'error', error: 'idle' } as const)[before]]++;
      this.#checkCounts(b);
    }
  }

  #checkCounts(b: BenchRun): void {
    for (const status of ['idle', 'running', 'error'] as const) {
      const count = this.registry.countByStatus(status);
      b.check(count === this.counts[status], `${count} sessions are ${status}, of ${this.counts[status]}`);
    }
  }

  /** Every session reports other figures. */
  changeFigures(): void {
    this.#shift++;
    this.#write();
  }

  #write(): void {
    for (const [i, { place }] of this.#all.entries()) this.table.writeStats(place!.slot, rowStatsOf(i + this.#shift));
  }

  /** Every row of the table and every summary has all figures of its session. */
  checkFigures(b: BenchRun): void {
    for (const [i, { id, place, status }] of this.#all.entries()) {
      const figures = rowStatsOf(i + this.#shift);
      b.check(sameFigures(this.table.readStats(place!.slot), figures), `the row of ${id} has its figures`);
      const summary = this.registry.sessionSummary(id);
      const { totalTasks, totalCostUsd, latestLatencyMs, progress, label, cpuMs } = figures;
      const same =
        summary?.sessionId === id &&
        summary.status === status &&
        summary.totalTasks === totalTasks &&
        summary.totalCost === totalCostUsd &&
        summary.latestLatency === latestLatencyMs &&
        summary.progress === progress &&
        summary.progressLabel === label &&
        summary.cpuMs === cpuMs;
      b.check(same, `the summary of ${id} has its figures`);
    }
  }
}

export function sameFigures(a: RowStats, b: RowStats): boolean {
  return (
    a.totalTasks === b.totalTasks &&
    a.totalCostUsd === b.totalCostUsd &&
    a.latestLatencyMs === b.latestLatencyMs &&
    a.progress === b.progress &&
    a.label === b.label &&
    a.cpuMs === b.cpuMs &&
    a.updatedAtMs === b.updatedAtMs
  );
}
