// list: a page of 50 rows out of a thousand to a million sessions on disk, through the host, per kind of query; and side
// by side with reading one file a session. Each page is compared with the rows that it must hold.
//
// The host keeps pages while nothing of the list changes. Unless a figure says "unchanged", a session is changed before
// every page, outside the time that is measured: such a page comes from the disk.

import type { ListQuery } from '../../src/main/index.js';
import { SessionFiles } from '../baselines/session-files.js';
import { COMMON, PINNED, RARE, createdAt, databaseOf, idOf, rareCount, recordOf, sessionsIn } from '../databases.js';
import { quantile, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, startHost, tempDir } from '../support.js';
import { KnownSessions } from './list-pages.js';

const LIMIT = 50;
const FILES = 5_000;

interface Kind {
  name: string;
  query(sessions: number): ListQuery;
  /** How many rows the page has, the pinned ones included. */
  rows(sessions: number): number;
}

interface Calls {
  calls: number;
  /** Nothing is changed before them; by default a session is, before each. */
  unchanged?: boolean;
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
  { name: 'q, one letter', query: () => ({ q: RARE[0]! }), rows: (n) => Math.min(rareCount(n), LIMIT + 1) },
  { name: 'q, two letters', query: () => ({ q: 'zz' }), rows: () => 0 },
  // Its letters are in most ids, and so are its parts.
  { name: 'q, frequent parts', query: () => ({ q: '000000000' }), rows: () => 0 },
  { name: 'q and type', query: () => ({ q: RARE, type: 'cron' }), rows: (n) => Math.min(rareCount(n), LIMIT + 1) },
  {
    name: 'q and date',
    query: () => ({ q: RARE, date: createdAt(0).slice(0, 10) }),
    rows: (n) => Math.min(rareCount(Math.min(n, 86_400)), LIMIT + 1),
  },
];
const TEXT_LIMIT_MS = 10;
const limitMs = (kind: Kind): number => (kind.query(0).q === undefined ? 1 : TEXT_LIMIT_MS);

export const list: Bench = {
  name: 'list',
  question: 'What does a page of the session list cost, however many sessions there are?',
  async run(b) {
    const sizes = b.smoke ? [1_000, 2_000] : [1_000, 10_000, 100_000, 1_000_000];
    const hosts = new Map<number, KnownSessions>();
    for (const size of sizes) {
      b.progress(`building ${size} sessions`);
      hosts.set(size, await hostOf(b, size));
    }
    await besideFiles(b);
    await largest(b, hosts);
    await curves(b, hosts);
  },
};

async function hostOf(b: BenchRun, sessions: number): Promise<KnownSessions> {
  const dataDir = await databaseOf(sessions);
  const found = sessionsIn(dataDir);
  b.check(found === sessions, `${found} of ${sessions} sessions are on disk`);
  const host = await startHost(b, { agents: [benchAgent('light')], threads: 1, dataDir });
  return new KnownSessions(b, host, sessions);
}

async function largest(b: BenchRun, hosts: ReadonlyMap<number, KnownSessions>): Promise<void> {
  const [smallest] = hosts.keys();
  const most = [...hosts.keys()].at(-1)!;
  const calls = b.size(40, 3);
  const p50 = (sessions: number, kind: Kind) => () => listP50Ms(b, hosts.get(sessions)!, kind, { calls });
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
    const target = { of: 'value', is: 'at most', limit: limitMs(kind) } as const;
    await b.measure({ metric: `list of ${most}, ${kind.name}, p50`, unit: 'ms', target }, p50(most, kind));
  }
  const target = { of: 'value', is: 'at most', limit: 1 } as const;
  await b.measure({ metric: `list of ${most}, newest, unchanged, p50`, unit: 'ms', target }, () =>
    listP50Ms(b, hosts.get(most)!, KINDS[0]!, { calls, unchanged: true }),
  );
  await b.measure({ metric: `snapshot of one of ${most}, p50`, unit: 'ms', target }, () =>
    snapshotP50Ms(hosts.get(most)!, calls),
  );
}

async function besideFiles(b: BenchRun): Promise<void> {
  const sessions = b.size(FILES, 500);
  const known = await hostOf(b, sessions);
  const files = new SessionFiles(tempDir(b));
  for (let i = 0; i < sessions; i++) files.write(recordOf(i));
  for (const kind of [KINDS[0]!, KINDS.find(({ name }) => name === 'q, common')!]) {
    const query: ListQuery = { ...kind.query(sessions), limit: LIMIT };
    const expected = known.ids(query).join();
    const readAll = (): number => {
      const lists = b.size(3, 1);
      let ids = '';
      const start = performance.now();
      for (let i = 0; i < lists; i++) ids = files.list(query).join();
      const ms = performance.now() - start;
      b.check(ids === expected, 'both give the same ids in the same order');
      return (1000 * lists) / ms;
    };
    const listed = (how: Calls) => async () => {
      const times = await listTimesMs(b, known, kind, how);
      return 1000 / (times.reduce((sum, ms) => sum + ms, 0) / how.calls);
    };
    const what = { unit: 'lists/s', baseline: 'reading every file' };
    const target = { of: 'ratio', is: 'at least', limit: 500 } as const;
    await b.compare(
      { ...what, metric: `list of ${sessions}, ${kind.name}, unchanged`, target },
      listed({ calls: b.size(1_000, 5), unchanged: true }),
      readAll,
    );
    await b.compare(
      { ...what, metric: `list of ${sessions}, ${kind.name}`, target },
      listed({ calls: b.size(200, 5) }),
      readAll,
    );
  }
}

async function curves(b: BenchRun, hosts: ReadonlyMap<number, KnownSessions>): Promise<void> {
  const series = [];
  const calls = b.size(15, 1);
  for (const kind of KINDS) {
    const points = [];
    for (const [x, known] of hosts) points.push({ x, y: await listP50Ms(b, known, kind, { calls }) });
    series.push({ name: kind.name, points });
  }
  const snapshots = [];
  for (const [x, known] of hosts) snapshots.push({ x, y: await snapshotP50Ms(known, calls) });
  series.push({ name: 'snapshot of one', points: snapshots });
  b.curve({ metric: `a page of ${LIMIT}, p50`, xUnit: 'sessions on disk', unit: 'ms', series });
}

async function listP50Ms(...args: Parameters<typeof listTimesMs>): Promise<number> {
  return quantile(await listTimesMs(...args), 0.5);
}

async function listTimesMs(
  b: BenchRun,
  known: KnownSessions,
  kind: Kind,
  { calls, unchanged = false }: Calls,
): Promise<number[]> {
  const { host, sessions } = known;
  const query: ListQuery = { ...kind.query(sessions), limit: LIMIT };
  const what = `${kind.name} of ${sessions}`;
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    if (!unchanged) await known.rename(query);
    const start = performance.now();
    const page = await host.registry.list(query);
    times.push(performance.now() - start);
    const expected = kind.rows(sessions);
    b.check(page.rows.length === expected, `${what}: ${page.rows.length} rows instead of ${expected}`);
    known.checkNames(query, page, what);
    if (i === calls - 1) known.checkPage(query, page, what);
  }
  return times;
}

async function snapshotP50Ms(known: KnownSessions, calls: number): Promise<number> {
  const times: number[] = [];
  for (let k = 0; k < calls; k++) {
    const i = known.unasked();
    const start = performance.now();
    const row = await known.host.registry.snapshot(idOf(i));
    times.push(performance.now() - start);
    known.checkSnapshot(i, row);
  }
  return quantile(times, 0.5);
}
