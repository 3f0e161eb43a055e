// What benchmarks share: hosts on temporary folders, and the agents that they host.

import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createHost, type Host, type HostOptions } from '../src/main/index.js';
import { unsynced } from './durability.js';
import type { BenchRun } from './harness.js';

const dirs = new Set<string>();
const children = new Set<ChildProcess>();
// A run that is cut short leaves nothing behind: first the processes, which would go on writing to the folders.
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  dirs.forEach(remove);
});

/** A process that does not outlive this one, however it ends. */
export function owned<C extends ChildProcess>(child: C): C {
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

function remove(dir: string): void {
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  dirs.delete(dir);
}

/** A folder that is gone after the benchmark. */
export function tempDir(b: BenchRun): string {
  const dir = mkdtempSync(join(tmpdir(), 'cabana-bench-'));
  dirs.add(dir);
  b.after(() => remove(dir));
  return dir;
}

/** The compiled agent module of this name in bench/agents. */
export function benchAgent(name: string): string {
  return fileURLToPath(new URL(`./agents/${name}.js`, import.meta.url));
}

/** A host that is closed after the benchmark. Its store must sync what it acknowledges, or every figure is worthless. */
export async function startHost(b: BenchRun, options: Partial<HostOptions> & { agents: string[] }): Promise<Host> {
  const fault = await unsynced(() => tempDir(b));
  b.check(fault === null, `what the store acknowledges is not synced: ${fault}`);
  const host = await createHost({
    dataDir: tempDir(b),
    threads: 2,
    maxIdleAgents: 1_000_000,
    maxRunningAgents: 10_000,
    restoreSessions: 0,
    drainMs: 100,
    flushDeadlineMs: 30_000,
    logLevel: 'error',
    ...options,
  });
  b.after(() => host.close());
  return host;
}

/** Many calls, `inFlight` at a time. */
export async function each<T>(
  items: Iterable<T>,
  inFlight: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); !next.done; next = queue.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}

/** Asks again and again. @returns false: it did not come to hold within that time */
export async function until(holds: () => boolean, withinMs: number): Promise<boolean> {
  const endsAt = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > endsAt) return false;
    await sleep(5);
  }
  return true;
}
