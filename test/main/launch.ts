// Hosts for the tests of this folder: on a clock of their own if need be, and closed before their folder is removed.

import type { TestContext } from 'node:test';
import type { Host, HostOptions, RunInfo, ShutdownReport } from '../../src/main/index.js';
import { VirtualClock } from '../support/clock.js';
import { startHost } from '../support/host.js';
import { tempDir } from '../support/temp.js';

/** Can skip time: what is due meanwhile happens once, later, as on a computer that was asleep. */
export class SleepyClock extends VirtualClock {
  #sleptMs = 0;

  override now(): number {
    return super.now() + this.#sleptMs;
  }

  sleep(ms: number): void {
    this.#sleptMs += ms;
  }
}

/** Hooks run in the order of their making: this folder is removed after hosts that are made before it are closed. */
export async function launch(t: TestContext, options: Partial<HostOptions> = {}): Promise<Host> {
  const made: { host?: Host } = {};
  t.after(() => made.host?.close());
  return (made.host = await startHost(t, { dataDir: options.dataDir ?? tempDir(t), ...options }));
}

/** A host whose clock stands still until the test moves it; it closes at once, however long its deadlines are. */
export async function launchWithClock(
  t: TestContext,
  options: Partial<HostOptions> = {},
): Promise<{ host: Host; clock: SleepyClock }> {
  const clock = new SleepyClock();
  const made: { host?: Host } = {};
  t.after(() => made.host && closeQuickly(made.host, clock));
  made.host = await startHost(t, { dataDir: options.dataDir ?? tempDir(t), clock, ...options });
  return { host: made.host, clock };
}

/** Closes a host with a virtual clock, which is moved on meanwhile. */
export async function closeQuickly(host: Host, clock: SleepyClock): Promise<ShutdownReport> {
  const moving = setInterval(() => clock.advance(50), 2);
  try {
    return await host.close();
  } finally {
    clearInterval(moving);
  }
}

export function outputOf<T>(info: RunInfo): T {
  return info.output as T;
}
