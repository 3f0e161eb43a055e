// interrupt: from the request to stop to the run's end, with every thread busy; and how soon the neighbours of a stuck
// agent answer again.

import { once } from 'node:events';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Host, RunHandle } from '../../src/main/index.js';
import { HOW_MANY } from '../agents/light.js';
import type { AskPlainAgent } from '../baselines/plain-agents.js';
import { quantile, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, each, startHost } from '../support.js';

const GRACE_MS = 200;
/** How long the interruptible code of the same thread works before it lets the event loop turn. */
const SLICE_MS = 1;

/** How long all threads have been busy before an interrupt. */
const BUSY_MS = 5;
/** Runs that had less than this of what was left of the machine did not keep their threads busy. */
const LEAST_CPU_SHARE = 0.5;

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
  const threads = new Set(ids.map((id) => host.registry.get(id)?.thread));
  b.check(threads.size === ids.length, `${ids.length} agents are on ${threads.size} threads`);
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
      const busy = await BusyThreads.start(b, host, ids);
      for (let i = 0; i < count; i++) times.push(await interrupted(b, host, ids, busy));
      await busy.check(count);
      return quantile(times, 0.99);
    },
    async () => {
      const times: number[] = [];
      for (let i = 0; i < count; i++) times.push(await aborted(b));
      return quantile(times, 0.99);
    },
  );
}

/** Whether the runs of a round spun on their threads: by what they say themselves, and by what they took of the cores. */
class BusyThreads {
  readonly #b: BenchRun;
  readonly #host: Host;
  readonly #ids: readonly string[];
  #cpuMsBefore = 0;
  #spunBefore: number[] = [];
  #idleMs = 0;

  private constructor(b: BenchRun, host: Host, ids: readonly string[]) {
    this.#b = b;
    this.#host = host;
    this.#ids = ids;
  }

  static async start(b: BenchRun, host: Host, ids: readonly string[]): Promise<BusyThreads> {
    const busy = new BusyThreads(b, host, ids);
    busy.#spunBefore = await busy.#spun();
    busy.#cpuMsBefore = busy.#cpuMs();
    return busy;
  }

  /** What no process wanted meanwhile counts as wasted. */
  async during(work: () => Promise<unknown>): Promise<void> {
    const before = idleMs();
    await work();
    this.#idleMs += idleMs() - before;
  }

  async check(runs: number): Promise<void> {
    const b: BenchRun = this.#b;
    const cpuMs = this.#cpuMs() - this.#cpuMsBefore;
    const share = cpuMs / (cpuMs + this.#idleMs);
    b.checkTime(share >= LEAST_CPU_SHARE, `those that spin took ${(100 * share).toFixed(0)} % of what was left`);
    const spun = await this.#spun();
    for (const [k, before] of this.#spunBefore.entries()) {
      const ms = spun[k]! - before;
      b.check(ms >= runs, `an agent spun for no more than ${ms} ms in ${runs} runs`);
    }
  }

  /** Milliseconds that each has spun so far, as it says. */
  #spun(): Promise<number[]> {
    return Promise.all(
      this.#ids.map(async (id) => ((await this.#host.send(id, {}).result).output as { spun: number }).spun),
    );
  }

  #cpuMs(): number {
    return this.#ids.reduce((sum, id) => sum + this.#host.registry.sessionSummary(id)!.cpuMs, 0);
  }
}

function idleMs(): number {
  return cpus().reduce((sum, { times }) => sum + times.idle, 0);
}

/** The first of two runs that spin, one on each thread. */
async function interrupted(b: BenchRun, host: Host, ids: readonly string[], busy: BusyThreads): Promise<number> {
  const runs = ids.map((id) => host.send(id, { spin: 'checkpoint' }));
  await Promise.all(runs.map(spinning));
  await busy.during(() => sleep(BUSY_MS));
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
async function aborted(b: BenchRun): Promise<number> {
  let slices = 0;
  const beganAt = performance.now();
  const abort = new AbortController();
  const ended = (async () => {
    while (!abort.signal.aborted) {
      for (const until = performance.now() + SLICE_MS; performance.now() < until;);
      slices++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  await new Promise((resolve) => setTimeout(resolve, 2 * SLICE_MS));
  const start = performance.now();
  abort.abort();
  await ended;
  const endedAt = performance.now();
  b.check(slices * SLICE_MS <= endedAt - beganAt, `${slices} slices of ${SLICE_MS} ms took ${endedAt - beganAt} ms`);
  return endedAt - start;
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
  let answers = 0;
  stuckThread.on('message', () => answers++);
  const start = performance.now();
  stuckThread.postMessage({ session: 'neighbour', input: 'anybody there?' } satisfies AskPlainAgent);
  await sleep(GRACE_MS);
  await stuckThread.terminate();
  const fresh = new Worker(PLAIN);
  fresh.postMessage({ session: 'neighbour', input: 'hello' } satisfies AskPlainAgent);
  const [answer] = (await once(fresh, 'message')) as [unknown];
  const ms = performance.now() - start;
  b.check(answer === 'hello', 'the new worker answered');
  b.check(answers === 0, 'the thread that was to be stuck answered a neighbour');
  await fresh.terminate();
  return ms;
}

/** Resolves when the run has said that it holds its thread. */
async function spinning(run: RunHandle): Promise<void> {
  for await (const event of run.events) if (event.type === 'event') return;
}
