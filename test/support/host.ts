// Hosts for tests: real threads, a real database in a temporary folder, closed after the test.

import { fileURLToPath } from 'node:url';
import type { TestContext } from 'node:test';
import { createHost, type Host, type HostOptions } from '../../src/main/index.js';
import { tempDir } from './temp.js';

/** The compiled module of a test agent in test/agents. */
export function testAgent(name: string): string {
  return fileURLToPath(new URL(`../agents/${name}.js`, import.meta.url));
}

/** Nobody lives to see its end: what minds its interrupt is not given up because the machine is slow. */
export const LONG_GRACE_MS = 60_000;

export async function startHost(t: TestContext, options: Partial<HostOptions> = {}): Promise<Host> {
  const host = await createHost({
    agents: [testAgent('counter'), testAgent('general')],
    dataDir: options.dataDir ?? tempDir(t),
    threads: 2,
    drainMs: 200,
    flushDeadlineMs: 2_000,
    interruptGraceMs: LONG_GRACE_MS,
    restoreSessions: 0,
    logLevel: 'silent',
    ...options,
  });
  t.after(() => host.close());
  return host;
}

/** Resolves when the condition holds, looked at every few milliseconds; rejects after the deadline. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 60_000,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
