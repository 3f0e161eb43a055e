// The benchmarks' agent that collects its thread's garbage and says what the heap holds then. Needs --expose-gc.

import { getHeapStatistics } from 'node:v8';
import { defineAgent } from '../../src/worker/agent.js';

export interface ThreadBytes {
  heap: number;
  /** Of the whole process, after the collection. */
  external: number;
}

export default defineAgent<object, unknown>({
  profile: 'collector',
  load: 'io',
  start: () => ({}),
  async run(): Promise<ThreadBytes> {
    const { gc } = globalThis;
    if (!gc) throw new Error('start with --expose-gc');
    for (let i = 0; i < 3; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const heap = getHeapStatistics();
    return { heap: heap.used_heap_size, external: heap.external_memory };
  },
});
