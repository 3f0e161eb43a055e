// A process of its own that starts and closes hosts, and says how many of them are still in its memory afterwards: the
// test runner keeps what a test has made.

import { setTimeout as pause } from 'node:timers/promises';
import { createHost, type HostOptions } from '../../src/main/index.js';
import { collectGarbage } from '../../src/worker/garbage.js';

const TRIES = 200;

async function liveAndClose(options: HostOptions): Promise<WeakRef<object>> {
  const host = await createHost(options);
  await host.create({ sessionId: `of-${process.hrtime.bigint()}`, agentProfile: 'crasher' });
  await host.close();
  return new WeakRef(host);
}

const options = JSON.parse(process.argv[2]!) as HostOptions;
const refs = [await liveAndClose(options), await liveAndClose(options)];
const left = (): number => refs.filter((ref) => ref.deref() !== undefined).length;
// Finalizers run in later turns, and what they let go of is collected after that.
for (let i = 0; i < TRIES && left() > 0; i++) {
  await pause(10);
  collectGarbage();
}
process.send!(left());
