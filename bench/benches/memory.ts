// memory: what a live idle agent with a trivial state takes, in the main thread and in its own; and whether it is given
// back after eviction. Measured in a process of its own, after garbage collection. The yardstick is an Erlang process:
// 338 words, 2.6 KB.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Bench, BenchRun } from '../harness.js';
import { ROW_BYTES } from '../../src/protocol/table-columns.js';
import { owned, tempDir } from '../support.js';
import type { MemoryReport } from './memory-child.js';

const CHILD = fileURLToPath(new URL('./memory-child.js', import.meta.url));
const run = promisify(execFile);

interface PerAgent {
  main: number;
  thread: number;
  rss: number;
  all: number;
  /** What is held after eviction, against the start. */
  afterEviction: number;
}

export const memory: Bench = {
  name: 'memory',
  question: 'How many bytes does a live idle agent take, and are they given back?',
  async run(b) {
    const sizes = b.smoke ? [500] : [1_000, 10_000, 100_000];
    const figures = new Map<number, PerAgent>();
    for (const agents of sizes) {
      b.progress(`${agents} agents`);
      figures.set(agents, await perAgent(b, agents));
    }
    const most = sizes.at(-1)!;
    const figure = figures.get(most)!;
    const onceSince = 'bytes are counted and not timed';
    const unit = 'bytes';
    const limit = { of: 'value', is: 'at most', limit: 3 * 1024 } as const;
    const of = (what: string): string => `an idle agent${what}, with ${most}`;
    const all = of(': main, table and its own thread (an Erlang process: 2,600)');
    b.recordValues({ metric: all, unit, target: limit, onceSince }, [figure.all]);
    b.recordValues({ metric: of(', main thread and status table'), unit }, [figure.main]);
    b.recordValues({ metric: of(', its own thread'), unit }, [figure.thread]);
    // The system may have taken back more than these few took.
    b.recordValues({ metric: of(', of the resident set'), unit, least: -Infinity }, [figure.rss]);
    b.recordValues(
      {
        metric: `held after the eviction of ${most}, against the start`,
        unit: 'ratio',
        target: { of: 'value', is: 'at most', limit: 1.1 },
        onceSince,
      },
      [figure.afterEviction],
    );
    const line = (name: string, of: (figure: PerAgent) => number) => ({
      name,
      points: [...figures].map(([x, value]) => ({ x, y: of(value) })),
    });
    const series = [line('in all', (f) => f.all), line('main', (f) => f.main), line('thread', (f) => f.thread)];
    b.curve({ metric: 'bytes an idle agent', xUnit: 'live agents', unit: 'bytes', series });
  },
};

async function perAgent(b: BenchRun, agents: number): Promise<PerAgent> {
  const reporting = run(process.execPath, ['--expose-gc', CHILD, tempDir(b), String(agents)], { timeout: 120_000 });
  owned(reporting.child);
  const { stdout } = await reporting;
  const reports = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as MemoryReport);
  const [before, full, after] = reports;
  b.check(before !== undefined && full !== undefined && after !== undefined, 'the process reported three times');
  b.check(full.live - before.live === agents, `${full.live - before.live} agents were live, of ${agents}`);
  b.check(after.live === 0 || after.live === before.live, `${after.live} agents are left after eviction`);
  const main = (full.mainHeap + full.mainExternal - before.mainHeap - before.mainExternal) / agents;
  const thread = (full.threadHeap + full.threadExternal - before.threadHeap - before.threadExternal) / agents;
  // Less than before: what was given back meanwhile was not the agents', and hides what they take.
  b.check(main > 0 && thread > 0, `${agents} agents took ${main} bytes each of main and ${thread} of their thread`);
  const held = (r: MemoryReport): number => r.mainHeap + r.mainExternal + r.threadHeap + r.threadExternal;
  return {
    main: main + ROW_BYTES,
    thread,
    rss: (full.rss - before.rss) / agents,
    all: main + ROW_BYTES + thread,
    afterEviction: held(after) / held(before),
  };
}
