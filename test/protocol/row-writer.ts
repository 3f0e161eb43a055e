// A thread of the status table's tests: writes one row as fast as it can, or dies in the middle of writing it.

import { parentPort, workerData } from 'node:worker_threads';
import { StatusTable, type RowStats } from '../../src/protocol/status-table.js';

/** A row whose columns all tell the same number. */
export function rowOf(n: number): RowStats {
  return {
    totalTasks: n,
    totalCostUsd: n,
    latestLatencyMs: n,
    progress: (n % 1000) / 1000,
    label: `step ${n}`,
    cpuMs: n,
    updatedAtMs: n,
  };
}

/** workerData of this thread. `stop`: the thread goes on until its word 0 is not 0; word 1 is what it wrote last. */
export interface WriterData {
  buffer: SharedArrayBuffer;
  stop: Int32Array;
  slot: number;
  what: 'hammer' | 'pairs' | 'die' | 'capacity';
}

function run({ buffer, stop, slot, what }: WriterData): void {
  const table = new StatusTable(buffer);
  let n = 1;
  if (what === 'capacity') {
    parentPort!.on('message', () => {
      parentPort!.postMessage({ rows: table.capacityRows, durable: table.durable(table.capacityRows - 1) });
      parentPort!.close();
    });
    parentPort!.postMessage('ready');
    return;
  }
  if (what === 'die') {
    table.writeStats(slot, rowOf(5));
    const { words, index } = table.wordOf(slot, 'lock');
    Atomics.add(words, index, 1);
    process.exit(0);
  }
  while (Atomics.load(stop, 0) === 0) {
    if (what === 'hammer') table.writeStats(slot, rowOf(n));
    else table.setDurable(slot, n, n);
    Atomics.store(stop, 1, n);
    n = n === 1_000_000 ? 1 : n + 1;
  }
}

if (parentPort && workerData) run(workerData as WriterData);
