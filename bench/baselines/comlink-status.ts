// The same figures behind Comlink: a worker that keeps them in a Map and is asked for each.

import { expose } from 'comlink';
import { workerData, type MessagePort } from 'node:worker_threads';
import type { RowStats } from '../../src/protocol/status-table.js';
import { plainEndpoint } from './comlink-endpoint.js';

export interface StatusCalls {
  countByStatus(status: string): number;
  row(id: number): RowStats | undefined;
  rows(): RowStats[];
}

export interface StatusTask {
  port: MessagePort;
  sessions: number;
}

/** The figures of session `i`, the same on both sides. */
export function rowStatsOf(i: number): RowStats {
  return {
    totalTasks: i % 1000,
    totalCostUsd: i / 1000,
    latestLatencyMs: i % 7 === 0 ? null : i % 500,
    progress: i % 3 === 0 ? 0.5 : null,
    label: i % 10 === 0 ? 'indexing' : '',
    cpuMs: i % 10_000,
    updatedAtMs: 1_790_000_000_000 + i,
  };
}

/** Every tenth runs, one in a hundred has failed. */
export function statusAt(i: number): 'running' | 'error' | 'idle' {
  if (i % 10 === 0) return 'running';
  return i % 100 === 1 ? 'error' : 'idle';
}

function answer({ port, sessions }: StatusTask): void {
  const figures = new Map<number, RowStats>();
  const counts = new Map<string, number>();
  for (let i = 0; i < sessions; i++) {
    figures.set(i, rowStatsOf(i));
    counts.set(statusAt(i), (counts.get(statusAt(i)) ?? 0) + 1);
  }
  const calls: StatusCalls = {
    countByStatus: (status) => counts.get(status) ?? 0,
    row: (id) => figures.get(id),
    rows: () => [...figures.values()],
  };
  expose(calls, plainEndpoint(port));
}

const task = workerData as StatusTask | null;
if (task?.sessions !== undefined) answer(task);
