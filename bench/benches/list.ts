// list: a page of 50 rows out of a thousand to a million sessions on disk, through the host, per kind of query; and side
// by side with reading one file a session. Each page is compared with the rows that it must hold.

import type { Host, ListQuery } from '../../src/main/index.js';
import { SessionFiles } from '../baselines/session-files.js';
import { COMMON, PINNED, RARE, createdAt, databaseOf, idOf, pageOf, rareCount, recordOf } from '../databases.js';
import { quantile, timed, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, startHost, tempDir } from '../support.js';

const LIMIT = 50;
const FILES = 5_000;

interface Kind {
  name: string;
  query(sessions: number): ListQuery;
  /** How many rows the page has, the pinned ones included. */
  rows(sessions: number): number;
}

const page = (sessions: number): number => Math.min(LIMIT, sessions - PINNED);
const KINDS: readonly Kind[] = [
  { name: 'newest', query: () => ({}), rows: (n) => page(n) + PINNED },
  { name: 'without pinned', query: () => ({ includePinned: false }), rows: page },
  { name: 'a page from the middle', query: (n) => ({ before: createdAt(n / 2) }), rows: page },
  { name: 'type', query: () => ({ type: 'cron' }), rows: () => LIMIT + PINNED / 5 },
  {
    name: 'date',
    query: (n) => ({ date: createdAt(n - 1).slice(0, 10) }),
    rows: (n) => (n < 86_400 ? LIMIT + PINNED : LIMIT),
  },
  // Every eighth name; of the pinned ones that is one.
  { name: 'q, common', query: () => ({ q: COMMON }), rows: () => LIMIT + 1 },
  { name: 'q, rare', query: () => ({ q: RARE }), rows: (n) => Math.min(rareCount(n), LIMIT + 1) },
  { name: 'q, no match', query: () => ({ q: 'quetzalcoatl' }), rows: () => 0 },
  { name: 'q, two letters', query: () => ({ q: 'zz' }), rows: () => 0 },
];
const QUERIES_OF_TEXT = KINDS.filter((kind) => kind.name.startsWith('q,'));

export const list: Bench = {
  name: 'list',
  question: 'What does a page of the session list cost, however many sessions there are?',
  async run(b) {
    const sizes = b.smoke ? [1_000, 2_000] : [1_000, 10_000, 100_000, 1_000_000];
    const hosts = new Map<number, Host>();
    for (const size of sizes) {
      b.progress(`building ${size} sessions`);
      hosts.set(size, await hostOf(b, size));
    }
    await besideFiles(b);
    await largest(b, hosts);
    await curves(b, hosts);
  },
};

async function hostOf(b: BenchRun, sessions: number): Promise<Host> {
  const dataDir = await databaseOf(sessions);
  return startHost(b, { agents: [benchAgent('light')], threads: 1, dataDir });
}

async function largest(b: BenchRun, hosts: ReadonlyMap<number, Host>): Promise<void> {
  const [smallest] = hosts.keys();
  const most = [...hosts.keys()].at(-1)!;
  const calls = b.size(100, 5);
  const p50 = (sessions: number, kind: Kind) => () => listP50Ms(b, hosts.get(sessions)!, sessions, kind, calls);
  for (const kind of KINDS.slice(0, 2)) {
    await b.compare(
      {
        metric: `list of ${most}, ${kind.name}, p50`,
        unit: 'ms',
        baseline: `of ${smallest!}`,
        target: { of: 'ratio', is: 'at most', limit: 3 },
      },
      p50(most, kind),
      p50(smallest!, kind),
    );
  }
  for (const kind of KINDS) {
    const limit = QUERIES_OF_TEXT.includes(kind) ? 10 : 1;
    await b.measure(
      {
        metric: `list of ${most}, ${kind.name}, p50`,
        unit: 'ms',
        target: { of: 'value', is: 'at most', limit },
        rounds: 3,
      },
      () => listP50Ms(b, hosts.get(most)!, most, kind, QUERIES_OF_TEXT.includes(kind) ? b.size(5, 1) : calls),
    );
  }
  await b.measure(
    { metric: `snapshot of one of ${most}, p50`, unit: 'ms', target: { of: 'value', is: 'at most', limit: 1 } },
    () => snapshotP50Ms(b, hosts.get(most)!, most, calls),
  );
}

async function besideFiles(b: BenchRun): Promise<void> {
  const sessions = b.size(FILES, 1_500);
  const host = await hostOf(b, sessions);
  const files = new SessionFiles(tempDir(b));
  for (let i = 0; i < sessions; i++) files.write(recordOf(i));
  const calls = b.size(200, 5);
  for (const kind of [KINDS[0]!, QUERIES_OF_TEXT[0]!]) {
    const query: ListQuery = { ...kind.query(sessions), limit: LIMIT };
    const expected = (await host.registry.list(query)).rows.map((row) => row.id).join();
    await b.compare(
      {
        metric: `list of ${sessions}, ${kind.name}`,
        unit: 'lists/s',
        baseline: 'reading every file',
        target: { of: 'ratio', is: 'at least', limit: 500 },
        rounds: 3,
      },
      async () => {
        const ms = await timed(async () => {
          for (let i = 0; i < calls; i++) {
            const { rows } = await host.registry.list(query);
            b.check(rows.length === kind.rows(sessions), 'the page is full');
          }
        });
        return (1000 * calls) / ms;
      },
      async () => {
        let ids = '';
        const ms = await timed(() => (ids = files.list(query).join()));
        b.check(ids === expected, 'both give the same ids in the same order');
        return 1000 / ms;
      },
    );
  }
}

async function curves(b: BenchRun, hosts: ReadonlyMap<number, Host>): Promise<void> {
  const series = [];
  for (const kind of KINDS) {
    const points = [];
    for (const [x, host] of hosts)
      points.push({ x, y: await listP50Ms(b, host, x, kind, QUERIES_OF_TEXT.includes(kind) ? 3 : b.size(20, 3)) });
    series.push({ name: kind.name, points });
  }
  const snapshots = [];
  for (const [x, host] of hosts) snapshots.push({ x, y: await snapshotP50Ms(b, host, x, b.size(50, 3)) });
  series.push({ name: 'snapshot of one', points: snapshots });
  b.curve({ metric: `a page of ${LIMIT}, p50`, xUnit: 'sessions on disk', unit: 'ms', series });
}

async function listP50Ms(b: BenchRun, host: Host, sessions: number, kind: Kind, calls: number): Promise<number> {
  const query: ListQuery = { ...kind.query(sessions), limit: LIMIT };
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    const { rows } = await host.registry.list(query);
    times.push(performance.now() - start);
    const expected = kind.rows(sessions);
    b.check(rows.length === expected, `${kind.name} of ${sessions}: ${rows.length} rows instead of ${expected}`);
    const ids = rows.map((row) => row.id).join();
    b.check(ids === expectedIds(sessions, kind.name, query), `${kind.name} of ${sessions}: these are other rows`);
  }
  return quantile(times, 0.5);
}

const expected = new Map<string, string>();

function expectedIds(sessions: number, kind: string, query: ListQuery): string {
  const key = `${kind} of ${sessions}`;
  const known = expected.get(key) ?? pageOf(sessions, query).join();
  expected.set(key, known);
  return known;
}

async function snapshotP50Ms(b: BenchRun, host: Host, sessions: number, calls: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    const id = idOf((i * 7919) % sessions);
    const start = performance.now();
    const row = await host.registry.snapshot(id);
    times.push(performance.now() - start);
    b.check(row?.id === id, 'the row is that of the session');
  }
  return quantile(times, 0.5);
}
