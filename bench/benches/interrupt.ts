// interrupt: from the request to stop to the run's end, with every thread busy; and how soon the neighbours of a stuck
// agent answer again.

import type { RunHandle } from '../../src/main/index.js';
import { quantile, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, startHost } from '../support.js';

const GRACE_MS = 200;

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
  await b.measure(
    {
      metric: 'interrupt to the end of the run, p99',
      unit: 'ms',
      target: { of: 'value', is: 'at most', limit: 10 },
    },
    async () => {
      const times: number[] = [];
      for (let i = 0; i < count; i++) {
        const runs = ids.map((id) => host.send(id, { spin: 'checkpoint' }));
        await Promise.all(runs.map(spinning));
        const start = performance.now();
        b.check(host.interrupt(ids[0]!) !== null, 'there was a run to interrupt');
        const first = await runs[0]!.result;
        times.push(performance.now() - start);
        b.check(first.state === 'interrupted', `the run ended ${first.state}`);
        host.interrupt(ids[1]!);
        await runs[1]!.result;
      }
      return quantile(times, 0.99);
    },
  );
}

async function stuck(b: BenchRun): Promise<void> {
  await b.measure(
    {
      metric: `a stuck agent's neighbour answers, after its interrupt (grace ${GRACE_MS} ms)`,
      unit: 'ms',
      target: { of: 'value', is: 'at most', limit: GRACE_MS + 50 },
    },
    async () => {
      const host = await startHost(b, {
        agents: [benchAgent('worker'), benchAgent('light')],
        threads: 2,
        interruptGraceMs: GRACE_MS,
        // That a thread is given up is an error to an operator; here it is the point.
        logLevel: 'silent',
      });
      const bad = await host.create({ agentProfile: 'worker' });
      const neighbours: string[] = [];
      for (let i = 0; i < 8; i++) neighbours.push(await host.create({ agentProfile: 'light' }));
      const thread = host.registry.get(bad)?.thread;
      const neighbour = neighbours.find((id) => host.registry.get(id)?.thread === thread);
      b.check(neighbour !== undefined, 'a neighbour lives on the same thread');
      const run = host.send(bad, { spin: 'never' });
      await spinning(run);
      const start = performance.now();
      host.interrupt(bad);
      const answer = await host.send(neighbour, 'hello').result;
      const ms = performance.now() - start;
      b.check(answer.state === 'completed' && answer.output === 'hello', 'the neighbour answered');
      const ended = await run.result;
      b.check(ended.code === 'AGENT_UNRESPONSIVE', `the stuck run ended with ${ended.code}`);
      return ms;
    },
  );
}

/** Resolves when the run has said that it holds its thread. */
async function spinning(run: RunHandle): Promise<void> {
  for await (const event of run.events) if (event.type === 'event') return;
}
