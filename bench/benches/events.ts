// events: what a running agent emits, to a subscriber in the main thread; side by side with a worker that posts the same
// objects one by one. Every event is counted, by its number, as received or as reported missing.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import type { Host } from '../../src/main/index.js';
import { EVENT, type EmitInput } from '../agents/emitter.js';
import type { RawEvents } from '../baselines/raw-events.js';
import type { Bench, BenchRun } from '../harness.js';
import { benchAgent, startHost } from '../support.js';

const PORTION = 1_000;
/** The paced stream: this many events each PAUSE_MS. */
const PACED_PORTION = 200;
const PAUSE_MS = 2;
/** A stream of which less arrives than this part is not one. */
const LEAST_RECEIVED = 0.5;

interface Stream {
  perSecond: number;
  received: number;
  missed: number;
  /** Of main's event loop, in milliseconds, and how many delays there were. */
  delayP99Ms: number;
  delays: number;
}

export const events: Bench = {
  name: 'events',
  question: 'How many events a second reach a subscriber, and does the main thread stay responsive meanwhile?',
  run,
};

async function run(b: BenchRun): Promise<void> {
  const host = await startHost(b, { agents: [benchAgent('emitter')], threads: 1 });
  const id = await host.create({ agentProfile: 'emitter' });
  const worker = new Worker(new URL('../baselines/raw-events.js', import.meta.url));
  b.after(() => worker.terminate());
  const count = b.size(300_000, 5_000);
  const delays: number[] = [];
  let missed = 0;
  const flooded = await b.compare(
    {
      metric: 'events to a subscriber, as fast as the agent can',
      unit: 'events/s',
      baseline: 'postMessage of each',
      target: { of: 'ratio', is: 'at least', limit: 1.5 },
    },
    async () => {
      const stream = await fromAgent(b, host, id, { events: count, portion: PORTION, pauseMs: 0 });
      delays.push(stream.delayP99Ms);
      missed += stream.missed;
      return stream.perSecond;
    },
    () => fromWorker(b, worker, { events: count, portion: PORTION }),
  );
  const target = { of: 'value', is: 'at most', limit: 10 } as const;
  // The first was not counted in a full run.
  const flood = delays.slice(-flooded.rounds.length);
  b.recordValues({ metric: "main's event-loop delay meanwhile, p99", unit: 'ms', target }, flood);
  b.recordValues({ metric: 'events reported missing to that subscriber', unit: 'events', least: 0 }, [missed]);
  const paced: EmitInput = { events: b.size(50_000, 5_000), portion: PACED_PORTION, pauseMs: PAUSE_MS };
  await b.measure(
    { metric: `main's event-loop delay, p99, with ${PACED_PORTION} events each ${PAUSE_MS} ms`, unit: 'ms', target },
    async () => {
      const stream = await fromAgent(b, host, id, paced);
      b.check(stream.missed === 0, 'a paced stream misses nothing');
      b.check(stream.delays > 0, "main's delay was measured");
      return stream.delayP99Ms;
    },
  );
  await fromMany(b, host, count);
}

/** The same number of events from more and more sessions at once, each with a subscriber of its own. */
async function fromMany(b: BenchRun, host: Host, count: number): Promise<void> {
  const points: { x: number; y: number }[] = [];
  for (const sessions of b.smoke ? [2] : [1, 10, 100]) {
    const ids = await Promise.all(Array.from({ length: sessions }, () => host.create({ agentProfile: 'emitter' })));
    const { value } = await b.measure(
      {
        metric: `events of ${sessions} session${sessions > 1 ? 's' : ''}, each to a subscriber`,
        unit: 'events/s',
        rounds: 3,
      },
      async () => {
        const start = performance.now();
        const input: EmitInput = { events: count / sessions, portion: PORTION, pauseMs: 0 };
        const streams = await Promise.all(ids.map((id) => fromAgent(b, host, id, input)));
        const received = streams.reduce((sum, stream) => sum + stream.received, 0);
        return received / ((performance.now() - start) / 1000);
      },
    );
    const live = new Set(ids).size;
    b.check(live === sessions, `${live} of ${sessions} sessions emitted`);
    points.push({ x: live, y: value });
  }
  b.curve({
    metric: 'events that arrive at subscribers',
    xUnit: 'sessions emitting',
    unit: 'events/s',
    series: [{ name: 'Cabana', points }],
  });
}

async function fromAgent(b: BenchRun, host: Host, id: string, input: EmitInput): Promise<Stream> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const start = performance.now();
  const run = host.send(id, input);
  let next = 0;
  let received = 0;
  let missed = 0;
  let garbled = 0;
  let last = start;
  delay.enable();
  for await (const event of run.events) {
    if (event.type === 'gap') {
      missed += event.missed;
    } else if (event.type === 'event') {
      const { i, type, text } = event.data as typeof EVENT & { i: number };
      if (type !== EVENT.type || text !== EVENT.text) garbled++;
      b.check(i >= next, 'events come in order, none twice');
      next = i + 1;
      received++;
    }
    // All are accounted for, also if the last one is missing. The end of the run, which is told later, does not count.
    if (event.type !== 'run' && received + missed === input.events) last = performance.now();
  }
  delay.disable();
  b.checkTime(delay.count > 0, "main's delay was not measured");
  const { state } = await run.result;
  b.check(state === 'completed', `the run ended ${state}`);
  b.check(received + missed === input.events, `${received} received and ${missed} missed of ${input.events}`);
  b.check(garbled === 0, `${garbled} events are not as they were emitted`);
  b.check(received >= LEAST_RECEIVED * input.events, `no more than ${received} of ${input.events} events arrived`);
  // Only what arrived counts.
  const perSecond = received / ((last - start) / 1000);
  return { perSecond, received, missed, delayP99Ms: delay.percentile(99) / 1e6, delays: delay.count };
}

async function fromWorker(b: BenchRun, worker: Worker, task: RawEvents): Promise<number> {
  const start = performance.now();
  let received = 0;
  let garbled = 0;
  let disordered = 0;
  const done = new Promise<void>((resolve, reject) => {
    worker.once('error', reject);
    const onMessage = ({ i, type, text }: typeof EVENT & { i: number }): void => {
      // Not checked here: what a listener throws, nobody awaits.
      if (i !== received++) disordered++;
      if (type !== EVENT.type || text !== EVENT.text) garbled++;
      if (received < task.events) return;
      worker.off('message', onMessage);
      worker.off('error', reject);
      resolve();
    };
    worker.on('message', onMessage);
  });
  worker.postMessage(task);
  await done;
  b.check(disordered === 0, `${disordered} messages came out of order`);
  b.check(garbled === 0, `${garbled} messages are not as they were posted`);
  return received / ((performance.now() - start) / 1000);
}
