// The session list, on the shared vectors and live.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ListQuery, NewSession } from '../../src/main/index.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { leave } from '../supervision/house.js';
import { launch, launchWithClock } from './launch.js';

interface Vectors {
  sessions: {
    session_id: string;
    name: string | null;
    created_at: string;
    updated_at: string;
    working_dir: string | null;
    source: string | null;
    agent_profile: string | null;
    pinned: boolean;
    stats: { total_tasks: number; total_cost_usd: number };
  }[];
  cases: { query: Record<string, unknown>; ids: string[] }[];
  cron_count: number;
}

// The compiler copies no JSON: the vectors are where the sources are.
const VECTORS = fileURLToPath(new URL('../../../test/fixtures/list.json', import.meta.url));
const vectors = JSON.parse(readFileSync(VECTORS, 'utf8')) as Vectors;

function toNewSession(s: Vectors['sessions'][number]): NewSession {
  return {
    sessionId: s.session_id,
    name: s.name,
    createdAt: s.created_at,
    updatedAt: s.updated_at,
    workingDir: s.working_dir,
    source: s.source,
    agentProfile: s.agent_profile,
    pinned: s.pinned,
    stats: { totalTasks: s.stats.total_tasks, totalCostUsd: s.stats.total_cost_usd },
  };
}

function toQuery({ include_pinned: includePinned, ...query }: Record<string, unknown>): ListQuery {
  return { ...query, ...(includePinned === undefined ? {} : { includePinned }) } as ListQuery;
}

test('the list answers every query of the vectors, with the sessions live and after a restart', async (t) => {
  const dataDir = tempDir(t);
  const agents = ['coding', 'research', 'general'].map(testAgent);
  const host = await launch(t, { dataDir, agents });
  assert.ok(vectors.sessions.length >= 60 && vectors.cases.length >= 40);
  await Promise.all(vectors.sessions.map((session) => host.create(toNewSession(session))));
  for (const { query, ids } of vectors.cases) {
    const { rows } = await host.registry.list(toQuery(query));
    assert.deepEqual(
      rows.map((row) => row.id),
      ids,
      JSON.stringify(query),
    );
  }
  assert.equal(await host.registry.cronCount(), vectors.cron_count);
  const before = await host.registry.list();
  const [session] = vectors.sessions;
  const row = before.rows.find(({ id }) => id === session!.session_id)!;
  assert.deepEqual(
    [row.name, row.createdAt, row.updatedAt, row.workingDir, row.totalTasks, row.totalCost],
    [
      session!.name,
      session!.created_at,
      session!.updated_at,
      session!.working_dir,
      session!.stats.total_tasks,
      session!.stats.total_cost_usd,
    ],
  );
  await host.close();
  const next = await launch(t, { dataDir, agents });
  assert.equal(next.registry.countByStatus('idle'), 0);
  for (const { query, ids } of vectors.cases) {
    const { rows } = await next.registry.list(toQuery(query));
    assert.deepEqual(
      rows.map(({ id }) => id),
      ids,
      JSON.stringify(query),
    );
  }
  assert.deepEqual(await next.registry.list(), before);
});

test('pages follow each other without a gap or a repetition, through sessions of one instant', async (t) => {
  const host = await launch(t, { threads: 1 });
  for (let i = 0; i < 12; i++) {
    const createdAt = `2026-01-01T00:00:0${Math.floor(i / 5)}Z`;
    await host.create({ sessionId: `s${String(i).padStart(2, '0')}`, createdAt, pinned: i === 3 });
  }
  const seen: string[] = [];
  let before: string | null = null;
  let pages = 0;
  do {
    const page: Awaited<ReturnType<typeof host.registry.list>> = await host.registry.list({
      limit: 4,
      ...(before === null ? {} : { before }),
    });
    assert.equal(page.hasMore, page.nextBefore !== null);
    seen.push(...page.rows.map((row) => row.id));
    before = page.nextBefore;
    pages++;
  } while (before !== null);
  assert.equal(pages, 3);
  assert.deepEqual(seen, ['s03', 's11', 's10', 's09', 's08', 's07', 's06', 's05', 's04', 's02', 's01', 's00']);
});

test('a live, non-empty name wins over the stored one, and live counters over stored ones', async (t) => {
  const host = await launch(t, { threads: 1, agents: ['toolbox', 'general'].map(testAgent) });
  const stats = { totalTasks: 7, totalCostUsd: 1.5 };
  await host.create({ sessionId: 'a', agentProfile: 'toolbox', name: 'stored', stats });
  const row = async (id: string): Promise<Record<string, unknown>> =>
    (await host.registry.list()).rows.find((found) => found.id === id)! as never;
  assert.equal((await row('a'))['name'], 'stored');
  host.registry.update('a', { name: '' });
  assert.equal((await row('a'))['name'], 'stored');
  host.registry.update('a', { name: 'live', model: 'm' });
  assert.deepEqual([(await row('a'))['name'], (await row('a'))['model']], ['live', 'm']);
  await host.send('a', { do: 'report', figures: { costUsd: 0.5, model: 'n', reasoningEffort: 'high' } }).result;
  const after = await row('a');
  assert.deepEqual([after['totalTasks'], after['totalCost'], after['model']], [8, 2, 'n']);
  assert.equal(after['reasoningEffort'], 'high');
  assert.equal(typeof after['latestLatency'], 'number');
});

/** Names the session twice in one turn of its event loop, and goes on until a file is there. */
const NAMES = `
  import { existsSync } from 'node:fs';
  export default {
    profile: 'names',
    run(ctx, file) {
      for (const name of ['first', 'second']) ctx.rename(name);
      while (!existsSync(file)) ctx.checkpoint();
    },
  };`;

test("a user's name stays, live and stored, though the agent's earlier one is written at the end of its run", async (t) => {
  const dir = tempDir(t);
  const [agent, file] = [join(dir, 'names.mjs'), join(dir, 'go-on')];
  writeFileSync(agent, NAMES);
  const host = await launch(t, { agents: [agent], maxIdleAgents: 0 });
  await host.create({ sessionId: 'a', agentProfile: 'names' });
  const { result } = host.send('a', file);
  const name = async (): Promise<unknown> => (await host.registry.snapshot('a'))?.name;
  await until('the agent has named it', async () => (await name()) === 'second');
  assert.equal((await host.registry.edit('a', { name: 'mine' }))?.name, 'mine');
  writeFileSync(file, '');
  assert.equal((await result).state, 'completed');
  assert.equal(await name(), 'mine');
  assert.equal((await host.registry.list({ q: 'mine' })).rows.length, 1);
  await leave(host, 'a');
  assert.equal(await name(), 'mine');
});

test('a session whose last run failed reads error, live and cold, until its next run starts', async (t) => {
  const { host } = await launchWithClock(t, { maxIdleAgents: 0 });
  const { registry } = host;
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  assert.equal((await host.send('a', { throws: 'it broke' }).result).state, 'failed');
  const read = async (): Promise<unknown[]> => {
    const row = await registry.snapshot('a');
    return [row?.status, row?.error, row?.errorCode];
  };
  const failed = ['error', 'it broke', 'AGENT_ERROR'];
  assert.deepEqual(await read(), failed);
  assert.deepEqual([registry.countByStatus('error'), registry.countByStatus('idle')], [1, 0]);
  await registry.evictExcessIdle();
  assert.equal(registry.exists('a'), false);
  assert.deepEqual(await read(), failed);
  assert.equal(registry.countByStatus('error'), 0);
  await registry.ensure('a');
  assert.deepEqual(await read(), failed);
  const run = host.send('a', { spin: 'check' });
  await until('it runs', () => registry.countByStatus('running') === 1);
  assert.deepEqual(await read(), ['running', null, null]);
  host.interrupt('a');
  assert.equal((await run.result).state, 'interrupted');
  assert.deepEqual(await read(), ['idle', null, null]);
  await registry.evictExcessIdle();
  assert.deepEqual(await read(), ['idle', null, null]);
});

test('a run that completes right after one that failed leaves the session idle', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  for (let round = 0; round < 25; round++) {
    const [failed, completed] = [host.send('a', { throws: 'it broke' }), host.send('a', { by: 1 })];
    assert.equal((await failed.result).state, 'failed');
    assert.equal((await completed.result).state, 'completed');
    const row = await host.registry.snapshot('a');
    assert.deepEqual([row?.status, row?.error, row?.errorCode], ['idle', null, null], `round ${round}`);
    assert.equal(host.registry.countByStatus('error'), 0);
  }
});

test('half of a character in a name is replaced at once, as the store gives it back', async (t) => {
  const agent = join(tempDir(t), 'cuts.mjs');
  // As titles are cut in real life.
  writeFileSync(agent, `export default { profile: 'cuts', run: (ctx) => ctx.rename('agent \u{1f600}'.slice(0, 7)) };`);
  const host = await launch(t, { threads: 1, maxIdleAgents: 0, agents: [agent] });
  await host.create({ sessionId: 'a', agentProfile: 'cuts', name: 'cut \ud83d' });
  const name = async (): Promise<unknown> => (await host.registry.snapshot('a'))?.name;
  assert.equal(await name(), 'cut \ufffd');
  assert.equal((await host.registry.edit('a', { name: 'again \ud83d' }))?.name, 'again \ufffd');
  await leave(host, 'a');
  assert.equal(await name(), 'again \ufffd');
  assert.equal((await host.send('a', null).result).state, 'completed');
  assert.equal(await name(), 'agent \ufffd');
  await leave(host, 'a');
  assert.equal(await name(), 'agent \ufffd');
});

test('updated_at never goes back: not when the session leaves memory, nor when it comes back', async (t) => {
  const host = await launch(t, { threads: 1, maxIdleAgents: 0 });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  let last = '';
  const look = async (): Promise<void> => {
    const { updatedAt } = (await host.registry.snapshot('a'))!;
    assert.ok(updatedAt >= last, `${updatedAt} after ${last}`);
    last = updatedAt;
  };
  for (let round = 0; round < 20; round++) {
    const [spins, waits] = [host.send('a', { spin: 'check' }), host.send('a', { by: 1 })];
    await waits.accepted;
    // One that waits, or one that runs: what ends last is shown.
    const [first, second] = round % 2 === 0 ? [spins, waits] : [waits, spins];
    host.interrupt('a', first.runId);
    await first.result;
    await look();
    host.interrupt('a', second.runId);
    const { endedAt } = await second.result;
    await look();
    assert.ok(last >= endedAt!, 'what ended is in it');
    await leave(host, 'a');
    await look();
    await host.registry.ensure('a');
    await look();
  }
});

test('what is wrong in a query is refused and named', async (t) => {
  const host = await launch(t, { threads: 1 });
  const wrong: Record<string, unknown>[] = [
    { limit: 0 },
    { limit: 1001 },
    { limit: 1.5 },
    { date: '2026-1-1' },
    { date: '2026%' },
    { before: 'soon' },
    { type: '' },
    { q: 'x'.repeat(257) },
    { includePinned: 'yes' },
  ];
  for (const query of wrong) {
    await assert.rejects(
      async () => host.registry.list(query),
      (error: { code: string; message: string }) =>
        error.code === 'INVALID_ARGUMENT' && error.message.includes(Object.keys(query)[0]!),
      JSON.stringify(query),
    );
  }
});
