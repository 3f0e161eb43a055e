// status: counts and rows of 100,000 live sessions, read from the status table; side by side with asking a worker, through
// Comlink, for the same figures in a Map. The sums of what was read are compared with what was written; so is, before or
// after, every figure of every row. Statuses and figures change between the rounds.

import { wrap, type Remote } from 'comlink';
import { MessageChannel, Worker } from 'node:worker_threads';
import type { RowStats } from '../../src/protocol/status-table.js';
import { plainEndpoint } from '../baselines/comlink-endpoint.js';
import { rowStatsOf, type StatusCalls, type StatusTask } from '../baselines/comlink-status.js';
import { timed, type Bench, type BenchRun } from '../harness.js';
import { LiveSessions, sameFigures } from './status-sessions.js';

const TARGET = { of: 'ratio', is: 'at least', limit: 300 } as const;

export const status: Bench = {
  name: 'status',
  question: 'What does it cost to read the status of 100,000 live sessions?',
  async run(b) {
    const sessions = b.size(100_000, 2_000);
    const live = new LiveSessions(sessions);
    const remote = comlinkStatus(b, sessions);
    await counts(b, live, remote);
    await oneRow(b, live, remote);
    await allRows(b, live, remote);
    await curve(b);
  },
};

function comlinkStatus(b: BenchRun, sessions: number): Remote<StatusCalls> {
  const { port1, port2 } = new MessageChannel();
  const task: StatusTask = { port: port2, sessions };
  const worker = new Worker(new URL('../baselines/comlink-status.js', import.meta.url), {
    workerData: task,
    transferList: [port2],
  });
  b.after(() => worker.terminate());
  return wrap<StatusCalls>(plainEndpoint(port1));
}

async function counts(b: BenchRun, live: LiveSessions, remote: Remote<StatusCalls>): Promise<void> {
  const reads = b.size(1_000_000, 50_000);
  const calls = b.size(1_000, 50);
  const { registry } = live;
  const atFirst = live.counts.running;
  const ours = async (): Promise<number> => {
    live.changeStatuses(b);
    const { running } = live.counts;
    let sum = 0;
    const ms = await timed(() => {
      for (let i = 0; i < reads; i++) sum += registry.countByStatus('running');
    });
    b.check(sum === running * reads, 'the count is right, every time');
    return (ms * 1e6) / reads;
  };
  const { countByStatus } = remote;
  const theirs = async (): Promise<number> => {
    let sum = 0;
    const ms = await timed(async () => {
      for (let i = 0; i < calls; i++) sum += await countByStatus('running');
    });
    b.check(sum === atFirst * calls, 'the count is right, every time');
    return (ms * 1e6) / calls;
  };
  await b.compare(
    { metric: 'countByStatus', unit: 'reads/s', baseline: 'through Comlink', target: TARGET },
    async () => perSecond(await ours()),
    async () => perSecond(await theirs()),
  );
  await b.measure({ metric: 'countByStatus', unit: 'ns', target: { of: 'value', is: 'at most', limit: 200 } }, ours);
}

async function oneRow(b: BenchRun, live: LiveSessions, remote: Remote<StatusCalls>): Promise<void> {
  const { registry, sessions } = live;
  live.changeFigures();
  const reads = b.size(200_000, 5_000);
  const calls = b.size(1_000, 50);
  const { row } = remote;
  const theirs = async (): Promise<number> => {
    let sum = 0;
    const ms = await timed(async () => {
      for (let i = 0; i < calls; i++) sum += (await row((i * 7919) % sessions))!.totalTasks;
    });
    b.check(sum === tasksOf(calls, { sessions, shift: 0 }), 'every row was read');
    return (ms * 1e6) / calls;
  };
  const table = (): Promise<number> => rowNs(b, live, reads);
  const summaries = Array.from({ length: sessions }, (_, i) => `s${i}`);
  const summary = async (): Promise<number> => {
    let sum = 0;
    const ms = await timed(() => {
      for (let i = 0; i < reads; i++) sum += registry.sessionSummary(summaries[(i * 7919) % sessions]!)!.totalTasks;
    });
    b.check(sum === tasksOf(reads, live), 'every summary was read');
    return (ms * 1e6) / reads;
  };
  const limit = { of: 'value', is: 'at most', limit: 500 } as const;
  await b.compare(
    { metric: 'one row of the table', unit: 'reads/s', baseline: 'through Comlink', target: TARGET },
    async () => perSecond(await table()),
    async () => perSecond(await theirs()),
  );
  await b.measure({ metric: 'one row of the table', unit: 'ns', target: limit }, table);
  await b.measure({ metric: 'sessionSummary', unit: 'ns' }, summary);
  live.checkFigures(b);
}

async function allRows(b: BenchRun, live: LiveSessions, remote: Remote<StatusCalls>): Promise<void> {
  const { table, sessions } = live;
  const expected = { ours: tasksOf(sessions, live), theirs: tasksOf(sessions, { sessions, shift: 0 }) };
  let rows: RowStats[] = [];
  await b.compare(
    { metric: 'the rows of all sessions', unit: 'ms', baseline: 'through Comlink' },
    () =>
      timed(() => {
        let sum = 0;
        for (let slot = 0; slot < sessions; slot++) sum += table.readStats(slot).totalTasks;
        b.check(sum === expected.ours, 'all rows were read');
      }),
    () =>
      timed(async () => {
        rows = await remote.rows();
        const sum = rows.reduce((total, row) => total + row.totalTasks, 0);
        b.check(rows.length === sessions && sum === expected.theirs, 'all rows were read');
      }),
  );
  const wrong = rows.findIndex((row, i) => !sameFigures(row, rowStatsOf(i)));
  b.check(wrong === -1, `row ${wrong}, through Comlink, is another`);
}

async function rowNs(b: BenchRun, live: LiveSessions, reads: number): Promise<number> {
  const { table, sessions } = live;
  let sum = 0;
  const ms = await timed(() => {
    for (let i = 0; i < reads; i++) sum += table.readStats((i * 7919) % sessions).totalTasks;
  });
  b.check(sum === tasksOf(reads, live), 'every row was read');
  return (ms * 1e6) / reads;
}

function perSecond(ns: number): number {
  return 1e9 / ns;
}

/** What the reads must add up to. */
function tasksOf(reads: number, { sessions, shift }: { sessions: number; shift: number }): number {
  let sum = 0;
  for (let i = 0; i < reads; i++) sum += (((i * 7919) % sessions) + shift) % 1000;
  return sum;
}

async function curve(b: BenchRun): Promise<void> {
  const count: { x: number; y: number }[] = [];
  const row: { x: number; y: number }[] = [];
  for (const x of b.smoke ? [100, 1_000] : [1_000, 10_000, 100_000]) {
    const live = new LiveSessions(x);
    live.changeStatuses(b);
    const reads = b.size(500_000, 10_000);
    let sum = 0;
    const ms = await timed(() => {
      for (let i = 0; i < reads; i++) sum += live.registry.countByStatus('idle');
    });
    b.check(sum === live.counts.idle * reads, 'the count is right, every time');
    // How many there are, by what says so itself.
    const found = (['idle', 'running', 'error'] as const).reduce((n, s) => n + live.registry.countByStatus(s), 0);
    b.check(found === x, `${found} of ${x} sessions are live`);
    count.push({ x, y: (ms * 1e6) / reads });
    row.push({ x, y: await rowNs(b, live, b.size(200_000, 5_000)) });
    live.checkFigures(b);
  }
  const series = [
    { name: 'countByStatus', points: count },
    { name: 'one row', points: row },
  ];
  b.curve({ metric: 'nanoseconds a read', xUnit: 'live sessions', unit: 'ns', series });
}
