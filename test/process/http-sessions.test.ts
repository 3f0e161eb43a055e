// The HTTP API, sessions: created, listed, changed, deleted; and their messages.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, flags, history, inParallel, readRun, run, sessionOf, spin } from './client.js';
import { assertRefused, list, start } from './requests.js';
import { until } from '../support/host.js';

const ROW_FIELDS = [
  'id',
  'name',
  'status',
  'error',
  'error_code',
  'top_up_url',
  'model',
  'model_id',
  'source',
  'agent_profile',
  'working_dir',
  'created_at',
  'updated_at',
  'total_tasks',
  'total_cost',
  'cost_source',
  'permission_mode',
  'pinned',
  'reasoning_effort',
  'latest_latency',
  'card_model',
  'sub_model',
  'sub_model_options',
];

/** Every route of a session and of a run of it. */
async function assertRefusedEverywhere(
  server: Server,
  id: string,
  runId: string,
  status: number,
  code: string,
): Promise<void> {
  const path = `/api/sessions/${id}`;
  const requests: [string, string, unknown?][] = [
    ['GET', path],
    ['PATCH', path, { name: 'x' }],
    ['DELETE', path],
    ['DELETE', `${path}/quarantine`],
    ['GET', `${path}/messages`],
    ['GET', `${path}/events`],
    ['POST', `${path}/runs`, { input: 1 }],
    ['GET', `${path}/runs/${runId}`],
    ['POST', `${path}/interrupt`],
  ];
  for (const [method, url, body] of requests) {
    assertRefused(await server.request(method, url, body), status, code);
  }
}

describe('sessions', () => {
  it('creates a session, answers 201 with its row, and gives the same row alone and in the list', async (t) => {
    const server = await start(t);
    const fields = { name: 'Ümlaut', source: 'cron', working_dir: '/srv/x', params: { a: [1] }, pinned: true };
    const made = await server.request('POST', '/api/sessions', { agent_profile: 'counter', ...fields });
    assert.equal(made.status, 201);
    const row = sessionOf(made);
    assert.deepEqual(Object.keys(row).sort(), [...ROW_FIELDS].sort());
    const { id, created_at, updated_at } = row as { id: string; created_at: string; updated_at: string };
    assert.match(id, /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/);
    for (const instant of [created_at, updated_at]) assert.equal(new Date(instant).toISOString(), instant);
    assert.deepEqual(
      { ...row, id, created_at, updated_at },
      {
        id,
        name: 'Ümlaut',
        status: 'idle',
        error: null,
        error_code: null,
        top_up_url: null,
        model: null,
        model_id: null,
        source: 'cron',
        agent_profile: 'counter',
        working_dir: '/srv/x',
        created_at,
        updated_at,
        total_tasks: 0,
        total_cost: 0,
        cost_source: null,
        permission_mode: null,
        pinned: true,
        reasoning_effort: null,
        latest_latency: null,
        card_model: null,
        sub_model: null,
        sub_model_options: null,
      },
    );
    assert.deepEqual(sessionOf(await server.request('GET', `/api/sessions/${id}`)), row);
    const listed = await server.request('GET', '/api/sessions');
    assert.deepEqual(listed.body['sessions'], [row]);
    assert.equal(listed.body['has_more'], false);
  });

  it('shows in the row what has been done: tasks, latency, and an error until the next run', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    await run(server, id, { by: 1 });
    const failing = await ended(server, id, await accept(server, id, { throws: 'out of luck' }));
    assert.deepEqual([failing.state, failing.error, failing.code], ['failed', 'out of luck', 'AGENT_ERROR']);
    const row = async () => sessionOf(await server.request('GET', `/api/sessions/${id}`));
    const bad = await row();
    assert.equal(bad['status'], 'error');
    assert.equal(bad['error'], 'out of luck');
    assert.equal(bad['error_code'], 'AGENT_ERROR');
    await run(server, id, { by: 1 });
    const good = await row();
    assert.deepEqual([good['status'], good['error'], good['error_code']], ['idle', null, null]);
    assert.equal(good['total_tasks'], 3);
    assert.equal(typeof good['latest_latency'], 'number');
  });

  it('pages by before, newest first, pinned ones on the first page only', async (t) => {
    const server = await start(t);
    const ids: string[] = [];
    for (let i = 0; i < 8; i++) ids.push(await create(server, 'general', { name: `s${i}`, pinned: i === 2 }));
    const pinned = ids[2]!;
    const others = ids.filter((id) => id !== pinned);
    const seen: string[] = [];
    let page = await list(server, '?limit=3');
    assert.equal(page.ids[0], pinned);
    assert.equal(page.ids.length, 4, 'the pinned one does not count');
    seen.push(...page.ids.slice(1));
    while (page.more) {
      assert.equal(typeof page.next, 'string');
      page = await list(server, `?limit=3&before=${encodeURIComponent(page.next!)}`);
      assert.ok(!page.ids.includes(pinned));
      seen.push(...page.ids);
    }
    assert.equal(page.next, null);
    assert.deepEqual(seen.length, others.length);
    assert.deepEqual([...seen].sort(), [...others].sort());
    const created = new Map<string, string>();
    for (const id of ids) {
      created.set(id, sessionOf(await server.request('GET', `/api/sessions/${id}`))['created_at'] as string);
    }
    for (let i = 1; i < seen.length; i++) assert.ok(created.get(seen[i - 1]!)! >= created.get(seen[i]!)!);
    const instant = created.get(others[4]!)!;
    const older = await list(server, `?before=${encodeURIComponent(instant)}`);
    assert.deepEqual([...older.ids].sort(), others.filter((id) => created.get(id)! < instant).sort());
    assert.deepEqual((await list(server, '?limit=7')).more, false);
    assert.deepEqual((await list(server, '?limit=6')).more, true);
  });

  it('finds text in name or id, without regard to case in Unicode’s sense, and takes it literally', async (t) => {
    const server = await start(t);
    const cron = await create(server, 'general', { name: 'Größe 100%' });
    const plain = await create(server, 'counter', { name: 'plain_name' });
    const ids = async (q: string): Promise<string[]> => (await list(server, `?q=${encodeURIComponent(q)}`)).ids;
    assert.deepEqual(await ids('%'), [cron]);
    assert.deepEqual(await ids('_'), [plain]);
    assert.deepEqual(await ids('GR'), [cron]);
    assert.deepEqual(await ids('GRÖSSE'), [cron]);
    assert.deepEqual(await ids('00%'), [cron]);
    assert.deepEqual(await ids('n_n'), [plain]);
    assert.deepEqual(await ids(plain.toUpperCase()), [plain]);
    for (const q of ['nobody', '"', 'a"b', 'plain OR 100', 'plain*', "'; --"]) assert.deepEqual(await ids(q), []);
    await server.request('PATCH', `/api/sessions/${plain}`, { name: 'renamed' });
    assert.deepEqual([await ids('RENAMED'), await ids('plain_name')], [[plain], []]);
  });

  it('filters by date, type and include_pinned', async (t) => {
    const server = await start(t);
    const cron = await create(server, 'general', { source: 'cron' });
    const manual = await create(server, 'counter');
    const setup = await create(server, 'counter', { source: 'system', pinned: true });
    const ids = async (query: string): Promise<string[]> => (await list(server, query)).ids.sort();
    assert.deepEqual(await ids(''), [cron, manual, setup].sort());
    assert.deepEqual(await ids('?type=cron'), [cron]);
    assert.deepEqual(await ids('?type=manual'), [manual]);
    assert.deepEqual(await ids('?type=setup'), [setup]);
    assert.deepEqual(await ids('?type=coding'), []);
    assert.deepEqual(await ids('?include_pinned=false'), [cron, manual].sort());
    assert.deepEqual(await ids('?include_pinned=0'), [cron, manual].sort());
    assert.deepEqual(await ids('?include_pinned=1&limit=1'), await ids('?limit=1'));
    const row = sessionOf(await server.request('GET', `/api/sessions/${cron}`));
    const today = (row['created_at'] as string).slice(0, 10);
    assert.ok((await ids(`?date=${today}`)).includes(cron));
    assert.deepEqual(await ids('?date=1999-12-31'), []);
    assert.deepEqual(await ids(`?type=cron&date=${today}&include_pinned=false`), [cron]);
  });

  it('refuses a list query with a bad value, an unknown or a repeated parameter', async (t) => {
    const server = await start(t);
    const bad = [
      'limit=0',
      'limit=1001',
      'limit=x',
      'limit=-1',
      'before=yesterday',
      'before=5',
      'before=March%207',
      'before=',
      'date=today',
      'include_pinned=maybe',
    ];
    for (const query of [...bad, `q=${'x'.repeat(257)}`, 'colour=red', 'limit=1&limit=2']) {
      assertRefused(await server.request('GET', `/api/sessions?${query}`), 400, 'INVALID_ARGUMENT');
    }
  });

  it('refuses a new session with an unknown field, a wrong type or an unknown profile, and makes none', async (t) => {
    const server = await start(t);
    const good = { agent_profile: 'counter' };
    const bad: unknown[] = [
      { ...good, colour: 'red' },
      { ...good, name: 7 },
      { ...good, name: 'x'.repeat(513) },
      { ...good, pinned: 'true' },
      { ...good, params: [] },
      { ...good, params: 'x' },
      { ...good, source: {} },
      { ...good, working_dir: 'x'.repeat(4097) },
      { agent_profile: 7 },
      { agent_profile: '' },
      [],
      'text',
      null,
    ];
    for (const body of bad) assertRefused(await server.request('POST', '/api/sessions', body), 400, 'INVALID_ARGUMENT');
    assertRefused(await server.request('POST', '/api/sessions', { agent_profile: 'nobody' }), 400, 'UNKNOWN_PROFILE');
    assert.deepEqual((await list(server, '')).ids, []);
  });

  it('changes name and pinned, and nothing else', async (t) => {
    const server = await start(t);
    const id = await create(server, 'general', { name: 'before' });
    const patch = (body: unknown) => server.request('PATCH', `/api/sessions/${id}`, body);
    const named = await patch({ name: 'after' });
    assert.equal(named.status, 200);
    assert.deepEqual(Object.keys(sessionOf(named)).sort(), [...ROW_FIELDS].sort());
    assert.equal(sessionOf(named)['name'], 'after');
    assert.equal(sessionOf(await patch({ pinned: true }))['pinned'], true);
    const row = sessionOf(await server.request('GET', `/api/sessions/${id}`));
    assert.deepEqual([row['name'], row['pinned']], ['after', true]);
    for (const body of [{}, { source: 'cron' }, { name: 1 }, { pinned: 'yes' }, { id: 'x' }, []]) {
      assertRefused(await patch(body), 400, 'INVALID_ARGUMENT');
    }
    assertRefused(await server.request('PATCH', '/api/sessions/nobody', { name: 'x' }), 404, 'SESSION_NOT_FOUND');
  });

  it('deletes a session for good: every route answers 404 from then on', async (t) => {
    const server = await start(t);
    const id = await create(server, 'general');
    const runId = await accept(server, id, 1);
    await ended(server, id, runId);
    const gone = await server.request('DELETE', `/api/sessions/${id}`);
    assert.equal(gone.status, 204);
    assert.deepEqual(gone.body, {});
    await assertRefusedEverywhere(server, id, runId, 404, 'SESSION_NOT_FOUND');
    assert.deepEqual((await list(server, '')).ids, []);
  });

  it('deletes a session whose run is in progress and whose mailbox is full of others', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const running = await spin(server, id, 'check');
    const waiting = await inParallel(10, Array.from({ length: 10 }), () => accept(server, id, {}));
    assert.equal((await readRun(server, id, running)).state, 'running');
    assert.equal((await server.request('DELETE', `/api/sessions/${id}`)).status, 204);
    assert.equal((await server.request('GET', `/api/sessions/${id}/runs/${waiting[0]}`)).status, 404);
    // The thread is free again.
    assert.deepEqual(await run(server, await create(server, 'counter'), { by: 1 }), { n: 1 });
  });

  it('starts what waited for the thread when the run of a deleted session has let go of it', async (t) => {
    const dir = tempDir(t);
    const gate = join(dir, 'gate');
    const server = await Server.start(t, flags(join(dir, 'data'), ['counter', 'process-deaf'], '--threads', '1'));
    const deaf = await create(server, 'process-deaf');
    const held = await accept(server, deaf, { gate });
    await until('it runs', async () => (await readRun(server, deaf, held)).state === 'running');
    const other = await create(server, 'counter');
    const waiting = await accept(server, other, { by: 1 });
    assert.equal((await server.request('DELETE', `/api/sessions/${deaf}`)).status, 204);
    assert.equal((await readRun(server, other, waiting)).state, 'queued');
    writeFileSync(gate, '');
    assert.equal((await readRun(server, other, waiting, 10_000)).state, 'completed');
  });

  it('answers 400 for an ill-formed id on every route, and 404 for a well-formed one that is nobody’s', async (t) => {
    const server = await start(t);
    for (const id of ['.hidden', '%2E%2E%2Fetc', 'a%20b', 'ü', 'x'.repeat(129), '-x', 'a%00']) {
      await assertRefusedEverywhere(server, id, 'r1', 400, 'SESSION_ID_INVALID');
    }
    assertRefused(await server.request('GET', '/api/sessions/nobody'), 404, 'SESSION_NOT_FOUND');
    const id = await create(server, 'general');
    assertRefused(await server.request('GET', `/api/sessions/${id}/runs/.x`), 400, 'RUN_ID_INVALID');
    assertRefused(await server.request('GET', `/api/sessions/${id}/runs/nobody`), 404, 'RUN_NOT_FOUND');
    assertRefused(
      await server.request('POST', `/api/sessions/${id}/runs`, { input: 1, run_id: 'a b' }),
      400,
      'RUN_ID_INVALID',
    );
  });
});

describe('messages', () => {
  it('pages by seq backwards from the end, oldest first within a page', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    await run(server, id, { by: 250 });
    const page = async (query: string) => {
      const answer = await server.request('GET', `/api/sessions/${id}/messages${query}`);
      assert.equal(answer.status, 200);
      assert.deepEqual(Object.keys(answer.body).sort(), ['has_more', 'messages']);
      const messages = answer.body['messages'] as { seq: number }[];
      return { seqs: messages.map((entry) => entry.seq), more: answer.body['has_more'], messages };
    };
    const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
    const last = await page('');
    assert.deepEqual([last.seqs, last.more], [range(153, 252), true]);
    const middle = await page('?before=153&limit=150');
    assert.deepEqual([middle.seqs, middle.more], [range(3, 152), true]);
    const first = await page('?before=3&limit=150');
    assert.deepEqual([first.seqs, first.more], [[1, 2], false]);
    assert.deepEqual([(await page('?before=3&limit=2')).seqs, (await page('?before=3&limit=2')).more], [[1, 2], false]);
    assert.deepEqual((await page('?before=1')).seqs, []);
    assert.deepEqual((await page('?before=0')).more, false);
    const [input, answer] = first.messages as unknown as Record<string, unknown>[];
    const { created_at } = input as { created_at: string };
    assert.deepEqual(input, { role: 'user', content: { by: 250 }, seq: 1, created_at });
    assert.equal(new Date(created_at).toISOString(), created_at);
    assert.equal(answer!['role'], 'assistant');
    assert.deepEqual(
      (await history(server, id, 7)).map((entry) => entry.seq),
      range(1, 252),
    );
    for (const query of ['?limit=0', '?limit=1001', '?limit=x', '?before=x', '?before=-1', '?after=3']) {
      assertRefused(await server.request('GET', `/api/sessions/${id}/messages${query}`), 400, 'INVALID_ARGUMENT');
    }
    assertRefused(await server.request('GET', '/api/sessions/nobody/messages'), 404, 'SESSION_NOT_FOUND');
  });
});
