// interrupt: from the request to stop to the run's end, with every thread busy; and how soon the neighbours of a stuck
// agent answer again.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Host, RunHandle } from '../../src/main/index.js';
import { HOW_MANY } from '../agents/light.js';
import type { AskPlainAgent } from '../baselines/plain-agents.js';
import { quantile, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, each, startHost } from '../support.js';

const GRACE_MS = 200;
/** How long the interruptible code of the same thread works before it lets the event loop turn. */
const SLICE_MS = 1;

const PLAIN = new URL('../baselines/plain-agents.js', import.meta.url);

export const interrupt: Bench = {
  name: 'interrupt',
  question: 'How long does a run take to stop when asked, and how long do the neighbours of one that does not wait?',
  async run(b) {
    await obedient(b);
    await stuck(b);
  },
};

async function obedient(b: BenchRun): Promise<void> {
  const host = await startHost(b, { agents: [benchAgent('worker')], threads: 2 });
  const ids = [await host.create({ agentProfile: 'worker' }), await host.create({ agentProfile: 'worker' })];
  const count = b.size(100, 5);
  await b.compare(
    {
      metric: 'interrupt to the end of the run, p99, all threads busy',
      unit: 'ms',
      baseline: `AbortSignal in the same thread, which yields each ${SLICE_MS} ms`,
      target: { of: 'value', is: 'at most', limit: 10 },
    },
    async () => {
      const times: number[] = [];
      for (let i = 0; i < count; i++) times.push(await interrupted(b, host, ids));
      return quantile(times, 0.99);
    },
    async () => {
      const times: number[] = [];
      for (let i = 0; i < count; i++) times.push(await aborted());
      return quantile(times, 0.99);
    },
  );
}

/** The first of two runs that spin, one on each thread. */
async function interrupted(b: BenchRun, host: Host, ids: readonly string[]): Promise<number> {
  const runs = ids.map((id) => host.send(id, { spin: 'checkpoint' }));
  await Promise.all(runs.map(spinning));
  const start = performance.now();
  b.check(host.interrupt(ids[0]!) !== null, 'there was a run to interrupt');
  const first = await runs[0]!.result;
  const ms = performance.now() - start;
  b.check(host.interrupt(ids[1]!) !== null, 'the other run was still there');
  for (const { state, code } of [first, await runs[1]!.result]) {
    b.check(
      state === 'interrupted' && code === 'RUN_INTERRUPTED',
      `a run that was interrupted ended ${state}, ${code}`,
    );
  }
  return ms;
}

/** Code that works a little, yields, and looks whether it is to stop: where nothing else spins, or it would not hear. */
async function aborted(): Promise<number> {
  const abort = new AbortController();
  const ended = (async () => {
    while (!abort.signal.aborted) {
      for (const until = performance.now() + SLICE_MS; performance.now() < until;);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  await new Promise((resolve) => setTimeout(resolve, 2 * SLICE_MS));
  const start = performance.now();
  abort.abort();
  await ended;
  return performance.now() - start;
}

async function stuck(b: BenchRun): Promise<void> {
  await b.compare(
    {
      metric: `a stuck agent's neighbour answers, after its interrupt (grace ${GRACE_MS} ms)`,
      unit: 'ms',
      baseline: 'terminate and respawn a worker, its states lost',
      target: { of: 'value', is: 'at most', limit: GRACE_MS + 50 },
    },
    () => answersWithin(b, 1),
    () => respawned(b),
  );
  const points: { x: number; y: number }[] = [];
  for (const neighbours of b.smoke ? [2] : [1, 10, 100, 1_000]) {
    const what =
      neighbours === 1 ? 'the only neighbour has' : `all of ${neighbours.toLocaleString('en-US')} neighbours have`;
    const { value } = await b.measure(
      { metric: `${what} answered, after the interrupt of the stuck one`, unit: 'ms', rounds: 3 },
      () => answersWithin(b, neighbours),
    );
    points.push({ x: neighbours, y: value });
  }
  b.curve({
    metric: `until every neighbour of a stuck agent has answered (grace ${GRACE_MS} ms)`,
    xUnit: 'neighbours on its thread',
    unit: 'ms',
    series: [{ name: 'Cabana', points }],
  });
}

/** Milliseconds from the interrupt of a run that never stops until `count` others of its thread have answered. */
async function answersWithin(b: BenchRun, count: number): Promise<number> {
  const host = await startHost(b, {
    agents: [benchAgent('worker'), benchAgent('light')],
    threads: 2,
    interruptGraceMs: GRACE_MS,
    // That a thread is given up is an error to an operator; here it is the point.
    logLevel: 'silent',
  });
  const bad = await host.create({ agentProfile: 'worker' });
  // They are spread over both threads.
  const others = Array.from({ length: 2 * count + 6 }, (_, k) => `light-${k}`);
  await each(others, 64, (sessionId) => host.create({ sessionId, agentProfile: 'light' }));
  const thread = host.registry.get(bad)?.thread;
  const neighbours = others.filter((id) => host.registry.get(id)?.thread === thread).slice(0, count);
  b.check(neighbours.length === count, `${neighbours.length} of ${count} neighbours live on the same thread`);
  await each(neighbours, 64, (id) => host.send(id, 'hello').result);
  const run = host.send(bad, { spin: 'never' });
  await spinning(run);
  const start = performance.now();
  host.interrupt(bad);
  const answers = await Promise.all(neighbours.map((id) => host.send(id, HOW_MANY).result));
  const ms = performance.now() - start;
  for (const { state, output } of answers) {
    b.check(
      state === 'completed' && output === 2,
      `a neighbour's second run ended ${state}, as number ${String(output)}`,
    );
  }
  const ended = await run.result;
  b.check(ended.code === 'AGENT_UNRESPONSIVE', `the stuck run ended with ${ended.code}`);
  await host.close();
  return ms;
}

/** The same by hand: after the grace the thread is terminated, and a new one asked. */
async function respawned(b: BenchRun): Promise<number> {
  const stuckThread = new Worker(PLAIN);
  stuckThread.postMessage('spin' satisfies AskPlainAgent);
  await once(stuckThread, 'message');
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, GRACE_MS));
  await stuckThread.terminate();
  const fresh = new Worker(PLAIN);
  fresh.postMessage({ session: 'neighbour', input: 'hello' } satisfies AskPlainAgent);
  const [answer] = (await once(fresh, 'message')) as [unknown];
  const ms = performance.now() - start;
  b.check(answer === 'hello', 'the new worker answered');
  await fresh.terminate();
  return ms;
}

/** Resolves when the run has said that it holds its thread. */
async function spinning(run: RunHandle): Promise<void> {
  for await (const event of run.events) if (event.type === 'event') return;
}
