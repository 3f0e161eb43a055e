// call: a small call into a thread and its answer, one after the other and with many in flight; our endpoint side by
// side with a bare MessagePort, plain Comlink, the worker pools and a child process. All of them run the same driver and
// hand the caller a promise of the answer. No two calls are the same and each must get its own answer; the thread that
// answers is asked at the end how many there were.

import { wrap } from 'comlink';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import { FixedThreadPool } from 'poolifier';
import { Piscina } from 'piscina';
import { Tinypool } from 'tinypool';
import workerpool from 'workerpool';
import { remote } from '../../src/protocol/calls.js';
import { BatchEndpoint } from '../../src/protocol/endpoint.js';
import { plainEndpoint } from '../baselines/comlink-endpoint.js';
import type { Call, EchoCalls, EchoPorts, EchoServed, EchoSide } from '../baselines/echo.js';
import { median, timed, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, owned, startHost } from '../support.js';

type Caller = (call: Call) => PromiseLike<Call>;

const IN_FLIGHT = [64, 1024] as const;
/** Many and short: how long a thread takes to wake changes by a factor of four from one moment to the next. */
const TRIP_ROUNDS = 41;
const CURVE_ROUNDS = 5;

type Point = { x: number; y: number };

export const call: Bench = {
  name: 'call',
  question: 'What does a small call into a live thread cost, alone and with many in flight?',
  async run(b: BenchRun) {
    const { ports, served } = echoThread(b);
    const ours = await oursCaller(ports.ours);
    const raw = await rawCaller(ports.raw);
    const comlink = await comlinkCaller(ports.comlink);
    await roundTrips(b, ours, raw, comlink);
    await pipelines(b, ours, raw, comlink);
    await pipelineCurve(b, { Cabana: ours, MessagePort: raw, Comlink: comlink });
    await others(b, ours);
    const answered = await served();
    for (const [name, caller] of Object.entries({ ours, raw, comlink })) {
      // One more, before anything was timed.
      const sent = made.get(caller)! + 1;
      const count = answered[name as EchoSide];
      b.check(count === sent, `the thread has answered ${count} calls of ${sent} (${name})`);
    }
    await wholeRun(b);
  },
};

/** Calls that each has made. */
const made = new Map<Caller, number>();
let madeByAll = 0;

async function roundTrips(b: BenchRun, ours: Caller, raw: Caller, comlink: Caller): Promise<void> {
  const metric = 'round trip';
  const unit = 'us';
  const rounds = TRIP_ROUNDS;
  const calls = b.size(200, 200);
  const target = { of: 'ratio', is: 'at most', limit: 1.3 } as const;
  const trip = (caller: Caller) => () => roundTripUs(b, caller, calls);
  await b.compare({ metric, unit, baseline: 'a bare MessagePort', target, rounds }, trip(ours), trip(raw));
  await b.compare({ metric, unit, baseline: 'plain Comlink', rounds }, trip(ours), trip(comlink));
}

async function pipelines(b: BenchRun, ours: Caller, raw: Caller, comlink: Caller): Promise<void> {
  const unit = 'calls/s';
  const rate = (caller: Caller, inFlight: number, calls: number) => async () =>
    (await pipelined(b, caller, calls, inFlight)).perSecond;
  const calls = b.size(100_000, 2_000);
  // Comlink takes ten times as long for them.
  const few = b.size(40_000, 2_000);
  for (const inFlight of IN_FLIGHT) {
    const metric = `calls with ${inFlight} in flight`;
    await b.compare(
      { metric, unit, baseline: 'a bare MessagePort', target: { of: 'ratio', is: 'at least', limit: 2 } },
      rate(ours, inFlight, calls),
      rate(raw, inFlight, calls),
    );
    await b.compare(
      { metric, unit, baseline: 'plain Comlink', target: { of: 'ratio', is: 'at least', limit: 5 } },
      rate(ours, inFlight, few),
      rate(comlink, inFlight, few),
    );
  }
}

/** All three in turn, several times: what a point shows must not be the moment at which it was measured. */
async function pipelineCurve(b: BenchRun, callers: Record<string, Caller>): Promise<void> {
  const series = Object.entries(callers).map(([name, caller]) => ({ name, caller, points: [] as Point[] }));
  const calls = b.size(5_000, 300);
  for (const x of [1, 4, 16, 64, 256, 1024]) {
    b.progress(`the curve, ${x} in flight`);
    const rates = series.map((): number[] => []);
    for (let round = 0; round < b.size(CURVE_ROUNDS, 1); round++) {
      for (const [k, { caller }] of series.entries()) {
        const { perSecond, most } = await pipelined(b, caller, calls, x);
        b.check(most === Math.min(x, calls), `${most} calls were in flight, of ${x}`);
        rates[k]!.push(perSecond);
      }
    }
    for (const [k, { points }] of series.entries()) points.push({ x, y: median(rates[k]!) });
  }
  const lines = series.map(({ name, points }) => ({ name, points }));
  b.curve({ metric: 'calls per second', xUnit: 'calls in flight', unit: 'calls/s', series: lines });
}

/** Pools and processes: what else a service might use. */
async function others(b: BenchRun, ours: Caller): Promise<void> {
  const callers: Record<string, Caller> = {
    'piscina.run': taskCaller(b, Piscina),
    'tinypool.run': taskCaller(b, Tinypool),
    'workerpool.exec': workerpoolCaller(b),
    'poolifier.execute': poolifierCaller(b),
    'child_process IPC': childCaller(b),
  };
  const trips = b.size(500, 20);
  const calls = b.size(4_000, 200);
  for (const [baseline, theirs] of Object.entries(callers)) {
    await theirs(callOf(0));
    await b.compare(
      { metric: 'round trip', unit: 'us', baseline },
      () => roundTripUs(b, ours, trips),
      () => roundTripUs(b, theirs, trips),
    );
    await b.compare(
      { metric: 'calls with 64 in flight', unit: 'calls/s', baseline },
      async () => (await pipelined(b, ours, calls, 64)).perSecond,
      async () => (await pipelined(b, theirs, calls, 64)).perSecond,
    );
  }
}

async function wholeRun(b: BenchRun): Promise<void> {
  const host = await startHost(b, { agents: [benchAgent('light')], threads: 1 });
  const id = await host.create({ agentProfile: 'light' });
  const count = b.size(100, 5);
  await b.measure({ metric: 'a whole run: sent, journaled, executed, its outcome on disk', unit: 'us' }, async () => {
    const ms = await timed(async () => {
      for (let i = 0; i < count; i++) {
        const run = await host.send(id, i).result;
        b.check(run.state === 'completed' && run.output === i, 'the run answered');
      }
    });
    return (ms * 1000) / count;
  });
}

// --- the driver

function callOf(n: number, text = 'how are you?'): Call {
  return { n, text };
}

/** Calls that nobody has made before. */
class FreshCalls {
  readonly #first = madeByAll;
  readonly #text = `how are you, ${this.#first}?`;
  #wrong = 0;

  constructor(caller: Caller, count: number) {
    made.set(caller, (made.get(caller) ?? 0) + count);
    madeByAll += count;
  }

  call(i: number): Call {
    return callOf(this.#first + i, this.#text);
  }

  answered(i: number, { n, text }: Call): void {
    if (n !== this.#first + i + 1 || text !== this.#text) this.#wrong++;
  }

  check(b: BenchRun): void {
    b.check(this.#wrong === 0, `${this.#wrong} calls got another answer than their own`);
  }
}

async function roundTripUs(b: BenchRun, caller: Caller, calls: number): Promise<number> {
  const fresh = new FreshCalls(caller, calls);
  let answers = 0;
  const ms = await timed(async () => {
    for (; answers < calls; answers++) fresh.answered(answers, await caller(fresh.call(answers)));
  });
  b.check(answers === calls, `${answers} of ${calls} calls were answered`);
  fresh.check(b);
  return (ms * 1000) / calls;
}

interface Pipelined {
  perSecond: number;
  /** Calls that were in flight at once. */
  most: number;
}

async function pipelined(b: BenchRun, caller: Caller, calls: number, inFlight: number): Promise<Pipelined> {
  const fresh = new FreshCalls(caller, calls);
  let answers = 0;
  let next = 0;
  let most = 0;
  const lane = async (): Promise<void> => {
    while (next < calls) {
      const i = next++;
      if (next - answers > most) most = next - answers;
      fresh.answered(i, await caller(fresh.call(i)));
      answers++;
    }
  };
  const ms = await timed(() => Promise.all(Array.from({ length: inFlight }, lane)));
  b.check(answers === calls, `${answers} of ${calls} calls were answered`);
  b.check(most === Math.min(inFlight, calls), `${most} calls were in flight, of ${inFlight}`);
  fresh.check(b);
  return { perSecond: calls / (ms / 1000), most };
}

// --- the callers

/**
 * One thread for all three: where the system puts a thread decides how quickly it wakes, by far more than what is sent.
 * Those that are not called cost nothing.
 */
function echoThread(b: BenchRun): { ports: EchoPorts; served: () => Promise<EchoServed> } {
  const channels = { ours: new MessageChannel(), raw: new MessageChannel(), comlink: new MessageChannel() };
  const theirs: EchoPorts = { ours: channels.ours.port2, raw: channels.raw.port2, comlink: channels.comlink.port2 };
  const worker = new Worker(new URL('../baselines/echo.js', import.meta.url), {
    workerData: theirs,
    transferList: Object.values(theirs),
  });
  b.after(() => worker.terminate());
  const served = async (): Promise<EchoServed> => {
    worker.postMessage('served');
    const [answer] = (await once(worker, 'message')) as [EchoServed];
    return answer;
  };
  const ports = { ours: channels.ours.port1, raw: channels.raw.port1, comlink: channels.comlink.port1 };
  return { ports, served };
}

async function oursCaller(port: MessagePort): Promise<Caller> {
  const calls = remote<EchoCalls>(['echo'], new BatchEndpoint(port));
  await calls.echo(callOf(0));
  return calls.echo;
}

/** Answers come in order: the oldest promise is the one to resolve. */
async function rawCaller(port: MessagePort): Promise<Caller> {
  const caller = inOrder((call) => port.postMessage(call));
  port.on('message', caller.answered);
  await caller.call(callOf(0));
  return caller.call;
}

async function comlinkCaller(port: MessagePort): Promise<Caller> {
  const calls = wrap<EchoCalls>(plainEndpoint(port));
  // Kept, as an experienced user of Comlink does: making it builds a Proxy. Not returned bare: it is a thenable.
  const echo = calls.echo;
  await echo(callOf(0));
  return (call) => echo(call);
}

/** Piscina, or the pool that began as a fork of it. */
function taskCaller(b: BenchRun, Pool: typeof Piscina | typeof Tinypool): Caller {
  const pool = new Pool({
    filename: baseline('echo-task'),
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: 64,
  });
  b.after(() => pool.destroy());
  return (call) => pool.run(call) as Promise<Call>;
}

function workerpoolCaller(b: BenchRun): Caller {
  const pool = workerpool.pool(new URL(baseline('echo-workerpool')).pathname, {
    workerType: 'thread',
    maxWorkers: 1,
  });
  b.after(() => pool.terminate(true));
  return (call) => pool.exec('echo', [call]);
}

function poolifierCaller(b: BenchRun): Caller {
  const pool = new FixedThreadPool<Call, Call>(1, new URL(baseline('echo-poolifier')).pathname);
  // Its destroy() now and then never resolves; the end of the process does the same.
  b.after(() => Promise.race([pool.destroy(), new Promise((resolve) => setTimeout(resolve, 2_000))]));
  return (call) => pool.execute(call);
}

function childCaller(b: BenchRun): Caller {
  const child = owned(fork(new URL(baseline('echo-child'))));
  b.after(() => child.kill('SIGKILL'));
  const caller = inOrder((call) => child.send(call));
  child.on('message', (answer) => caller.answered(answer as Call));
  return caller.call;
}

function baseline(name: string): string {
  return new URL(`../baselines/${name}.js`, import.meta.url).href;
}

function inOrder(send: (call: Call) => void): { call: Caller; answered: (answer: Call) => void } {
  const waiting: ((answer: Call) => void)[] = [];
  let first = 0;
  return {
    call: (call) =>
      new Promise((resolve) => {
        waiting.push(resolve);
        send(call);
      }),
    answered: (answer) => {
      waiting[first++]!(answer);
      if (first < waiting.length) return;
      waiting.length = 0;
      first = 0;
    },
  };
}
