// The process whose memory is measured: a host, as many idle agents as its second argument says, and none again. Reports
// as lines of JSON.

import { systemClock } from '../../src/main/clock.js';
import { createHost, type Clock, type Host } from '../../src/main/index.js';
import type { ThreadBytes } from '../agents/collector.js';
import { HOW_MANY } from '../agents/light.js';
import { benchAgent, each } from '../support.js';

/** Bytes at one moment, garbage collected. */
export interface MemoryReport {
  live: number;
  mainHeap: number;
  mainExternal: number;
  threadHeap: number;
  threadExternal: number;
  rss: number;
}

const CREATE_IN_FLIGHT = 256;
/** Agents that are asked something, to see that they are there. */
const ASKED = 20;

/** No sweep by itself: the agents leave when this process says so. */
const clock: Clock = { ...systemClock, every: () => ({ cancel: () => undefined }) };

async function report(host: Host, collector: string): Promise<void> {
  const { output, state } = await host.send(collector, null).result;
  if (state !== 'completed') throw new Error(`the collector's run ended ${state}`);
  const thread = output as ThreadBytes;
  for (let i = 0; i < 3; i++) {
    globalThis.gc!();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const main = process.memoryUsage();
  const bytes: MemoryReport = {
    live: host.registry.countByStatus('idle'),
    mainHeap: main.heapUsed,
    mainExternal: main.external,
    threadHeap: thread.heap,
    threadExternal: thread.external,
    rss: main.rss,
  };
  process.stdout.write(`${JSON.stringify(bytes)}\n`);
}

const [dataDir, agents] = process.argv.slice(2);
const host = await createHost({
  agents: [benchAgent('light'), benchAgent('collector')],
  dataDir: dataDir!,
  threads: 1,
  maxIdleAgents: 0,
  restoreSessions: 0,
  logLevel: 'error',
  clock,
});
const collector = await host.create({ agentProfile: 'collector' });
const create = (): Promise<string> => host.create({ agentProfile: 'light' });
// What is made once, for the first agents, is not theirs.
await each(Array.from({ length: 500 }), CREATE_IN_FLIGHT, create);
await host.registry.evictExcessIdle();
await host.registry.ensure(collector);
await report(host, collector);
const count = Number(agents);
const step = Math.max(1, Math.floor(count / ASKED));
const asked: string[] = [];
let made = 0;
await each(Array.from({ length: count }), CREATE_IN_FLIGHT, async () => {
  const id = await create();
  if (made++ % step === 0) asked.push(id);
});
await report(host, collector);
for (const id of asked) {
  const place = host.registry.get(id)?.epoch;
  const { output } = await host.send(id, HOW_MANY).result;
  const isIt = output === 1 && host.registry.get(id)?.epoch === place;
  if (!isIt) throw new Error(`${id} was not live, or had other runs than this one: ${String(output)}`);
}
await host.registry.evictExcessIdle();
await report(host, collector);
await host.close();
