// A thread of the journal's tests: appends as fast as it can until it is terminated.

import { workerData, type MessagePort } from 'node:worker_threads';
import { JournalLink } from '../../src/worker/journal-link.js';

/** workerData of this thread. */
export interface RingWriterData {
  port: MessagePort;
  ring: SharedArrayBuffer;
  /** How many appends have returned. */
  appended: Int32Array;
  key: number;
  epoch: number;
}

function run({ port, ring, appended, key, epoch }: RingWriterData): void {
  const link = new JournalLink(port, ring);
  const bodies = [new Uint8Array(100).fill(1), new Uint8Array(5_000).fill(1), new Uint8Array(70_000).fill(1)];
  for (let n = 1; ; n++) {
    const body = bodies[n % 50 === 0 ? 2 : n % 7 === 0 ? 1 : 0]!;
    // The bound is the agent's in the product; here the store keeps up or the thread waits.
    while (link.backlogBytes > 8_000_000);
    link.append({ kind: 'append', at: 1, key, epoch, n, body });
    Atomics.store(appended, 0, n);
  }
}

if (workerData) run(workerData as RingWriterData);
