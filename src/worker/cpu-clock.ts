// CPU time of this thread. Node 20 has it for the process alone; on Linux the kernel tells it per thread.

import { closeSync, openSync, readSync } from 'node:fs';
import { monotonicMs } from './platform.js';

const buffer = Buffer.alloc(64);

/** Milliseconds of CPU time; elsewhere than on Linux, of wall time. */
export class CpuClock {
  // "thread-self" is resolved when it is opened, so the descriptor stays this thread's.
  readonly #fd: number | null;
  /** What cpu runs have used, and where the one that has the thread began. */
  #heldMs = 0;
  #heldFrom: number | null = null;

  constructor() {
    this.#fd = openSchedstat();
  }

  now(): number {
    if (this.#fd === null) return monotonicMs();
    const length = readSync(this.#fd, buffer, 0, buffer.length, 0);
    // "<nanoseconds on a CPU> <nanoseconds waiting> <time slices>"
    return Number.parseInt(buffer.toString('latin1', 0, length), 10) / 1e6;
  }

  /** A cpu run has the thread from now on, or not any more. */
  hold(): void {
    this.#heldFrom = this.now();
  }

  letGo(): void {
    if (this.#heldFrom !== null) this.#heldMs += this.now() - this.#heldFrom;
    this.#heldFrom = null;
  }

  /** Likewise, without what cpu runs have used: what io runs, which share the thread, are measured by. */
  shared(): number {
    const now = this.now();
    return now - this.#heldMs - (this.#heldFrom === null ? 0 : now - this.#heldFrom);
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
  }
}

function openSchedstat(): number | null {
  try {
    return openSync('/proc/thread-self/schedstat', 'r');
  } catch {
    // Not Linux, or a kernel without schedstat: wall time it is.
    return null;
  }
}
