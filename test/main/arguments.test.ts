// What a caller says wrong is told to it by name, and a host that is closed takes no subscriber.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createHost, type Host, type HostOptions, type SendOptions } from '../../src/main/index.js';
import { testAgent } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch } from './launch.js';

const REFUSED = { code: 'INVALID_ARGUMENT' };

/** Whatever its type says: callers in plain JavaScript have none. */
const loose = <T>(value: unknown): T => value as T;

type Edit = Parameters<Host['registry']['edit']>[1];
type Bounds = NonNullable<Parameters<Host['messages']>[1]>;
type Query = NonNullable<Parameters<Host['registry']['list']>[0]>;

test('a pin is true or false; anything else is refused and changes nothing', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'general', pinned: true });
  for (const pinned of [0, 1, '', 'false', null, {}, []]) {
    const edit = host.registry.edit('a', loose<Edit>({ pinned, name: 'other' }));
    await assert.rejects(edit, REFUSED, JSON.stringify(pinned));
    const row = await host.registry.snapshot('a');
    assert.deepEqual([row?.pinned, row?.name], [true, null]);
  }
  await host.registry.edit('a', { pinned: false });
  assert.equal((await host.registry.snapshot('a'))?.pinned, false);
});

test('the bounds of a page of messages are whole numbers', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'general' });
  await host.send('a', 1).result;
  for (const limit of [0, -5, 1.5, 1001, 1e9, NaN, Infinity, '10', null]) {
    await assert.rejects(host.messages('a', loose<Bounds>({ limit })), REFUSED, String(limit));
  }
  for (const before of [NaN, 1.5, Infinity, '1', null]) {
    await assert.rejects(host.messages('a', loose<Bounds>({ before })), REFUSED, String(before));
  }
  assert.equal((await host.messages('a', { limit: 1000 }))?.messages.length, 2);
  assert.equal((await host.messages('a', { limit: 1, before: 2 }))?.messages.length, 1);
});

test('what an imported session brings along is checked', async (t) => {
  const host = await launch(t, { threads: 1 });
  const create = (fields: object) =>
    host.create(loose<Parameters<Host['create']>[0]>({ agentProfile: 'general', ...fields }));
  for (const createdAt of ['1', 'March 7', '2026', '+099999-01-01', '-000001-01-01', 5, {}]) {
    await assert.rejects(create({ createdAt }), REFUSED, JSON.stringify(createdAt));
  }
  for (const stats of [
    'x',
    { totalTasks: 1n },
    { totalCostUsd: NaN },
    { totalTasks: -5 },
    { model: 5 },
    { other: 1 },
  ]) {
    await assert.rejects(create({ stats }), REFUSED);
  }
  assert.equal(host.registry.countByStatus('idle'), 0);
  // Without a zone it is UTC, like wherever else an instant is given.
  const id = await create({
    createdAt: '2026-03-07T12:00',
    stats: { totalTasks: 3, model: 'm', subModelOptions: ['a'] },
  });
  const row = await host.registry.snapshot(id);
  assert.deepEqual([row?.createdAt, row?.totalTasks, row?.model], ['2026-03-07T12:00:00.000Z', 3, 'm']);
  assert.equal((await host.registry.list({ before: '+099999-01-01' })).rows.length, 1);
});

test('a page of the list begins before an instant or a cursor, and nothing else', async (t) => {
  const host = await launch(t, { threads: 1 });
  const createdAt = '2026-03-07T12:00:00.000Z';
  await host.create({ sessionId: 'a', agentProfile: 'general', createdAt });
  const rows = async (before: unknown) => (await host.registry.list(loose<Query>({ before }))).rows.length;
  for (const before of [5, '5', '12', 'March 7', '7 March 2026', '2026', '2026-03', '2026-3-7', null, '', {}, ',a']) {
    await assert.rejects(async () => rows(before), REFUSED, JSON.stringify(before));
  }
  for (const later of ['2026-03-08', '2026-03-07T12:00:00.001Z', '2026-03-07T12:00:01', '2026-03-07T14:01+02:00']) {
    assert.equal(await rows(later), 1, later);
  }
  for (const earlier of ['2026-03-07', createdAt, '2026-03-07T12:00', '2026-03-07T13:59:59+02:00']) {
    assert.equal(await rows(earlier), 0, earlier);
  }
});

test('an instant without a zone is in UTC, wherever the computer is', async (t) => {
  const zone = process.env['TZ'];
  t.after(() => {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  });
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'general', createdAt: '2026-03-07T12:00:00.000Z' });
  for (const there of ['Pacific/Auckland', 'America/Los_Angeles', 'UTC']) {
    process.env['TZ'] = there;
    const rows = async (before: string) => (await host.registry.list({ before })).rows.length;
    assert.deepEqual([await rows('2026-03-07T11:59:59'), await rows('2026-03-07T12:00:01')], [0, 1], there);
  }
});

test('whoever subscribes to a host that is closed is told that it is over', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'general' });
  const before = host.subscribe('a');
  await host.close();
  for (const stream of [before, host.subscribe('a'), host.subscribe('unknown')]) {
    const events = [];
    for await (const event of stream) events.push(event);
    assert.deepEqual(events, []);
  }
});

test('agents are at a path: an empty one is not the folder that the process is in', async (t) => {
  const paths: unknown[] = ['', [''], [testAgent('general'), ''], [1], [null], [[]], new URL('file:///agents'), {}];
  for (const agents of paths.map((each) => loose<string[]>(each))) {
    await assert.rejects(createHost({ agents, dataDir: tempDir(t), threads: 1, logLevel: 'silent' }), {
      code: 'CONFIG_INVALID',
    });
  }
});

test('what is no option of a host is refused by name, in the promise', async (t) => {
  const base = { agents: testAgent('general'), dataDir: tempDir(t), threads: 1, logLevel: 'silent' as const };
  const wrong: unknown[] = [undefined, null, 5, 'agents', {}];
  wrong.push(...[{}, 5, { now: () => 0 }].map((clock) => ({ ...base, clock })));
  wrong.push(...[{}, 'warn', { error: console.error }].map((log) => ({ ...base, log })));
  for (const options of wrong) {
    await assert.rejects(createHost(loose<HostOptions>(options)), { name: 'CabanaError', code: 'CONFIG_INVALID' });
  }
});

test('what should be an object and is none is refused by name', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'general' });
  for (const nothing of [null, 5, 'name', []]) {
    const fields = loose<never>(nothing);
    const refused = [
      host.create(fields),
      host.registry.edit('a', fields),
      host.registry.list(fields),
      host.registry.restoreFromDisk(fields),
      host.messages('a', fields),
      host.send('a', 'x', fields).accepted,
      host.send('a', 'x', fields).result,
    ];
    for (const each of refused) await assert.rejects(each, { name: 'CabanaError', ...REFUSED }, String(nothing));
  }
  await assert.rejects(host.create(loose<never>(undefined)), REFUSED);
  const handle = host.send('a', 'x', { runId: loose<string>(5) });
  assert.equal(handle.runId, '');
  await assert.rejects(handle.accepted, { code: 'RUN_ID_INVALID' });
  assert.equal((await host.messages('a'))?.messages.length, 0);
});

test('a run whose options are wrong leaves nothing in memory', async (t) => {
  const host = await launch(t, { threads: 1 });
  const wrong: unknown[] = [{ runTimeoutMs: 0 }, { priority: 11 }, { whenBusy: 'later' }, { runId: '' }];
  for (const options of wrong.map((each) => loose<SendOptions>(each))) {
    await assert.rejects(host.send('unknown', 'x', options).accepted, { name: 'CabanaError' });
    assert.equal(host.registry.get('unknown'), undefined, JSON.stringify(options));
  }
});

test('what is misspelled, or of a wrong type, is refused by name and not left out', async (t) => {
  const base = { agents: testAgent('general'), dataDir: tempDir(t), threads: 1, logLevel: 'silent' as const };
  await assert.rejects(createHost(loose<HostOptions>({ ...base, maxIdle: 5 })), {
    code: 'CONFIG_INVALID',
    message: /maxIdle/,
  });
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'general' });
  const before = (await host.registry.snapshot('a'))!.updatedAt;
  const { registry } = host;
  const refused: [string, Promise<unknown>][] = [
    ['run_id', host.send('a', 'x', loose<SendOptions>({ run_id: 'mine' })).accepted],
    ['includepinned', registry.list(loose<never>({ includepinned: false }))],
    ['date', registry.list(loose<never>({ date: 2026 }))],
    ['Limit', host.messages('a', loose<never>({ Limit: 5 }))],
    ['limit', host.entriesFrom('a', 1, loose<number>(undefined))],
    ['limit', host.entriesFrom('a', 1, -1)],
    ['from', host.entriesFrom('a', loose<number>('x'), 1)],
    ['quarantine', registry.edit('a', loose<never>({ quarantine: 'mine' }))],
    ['createdAt', host.create({ createdAt: '2023-02-31' })],
    ['createdAt', host.create({ createdAt: '2023-02-31T10:00:00Z' })],
  ];
  for (const [name, each] of refused) {
    await assert.rejects(each, { name: 'CabanaError', ...REFUSED, message: new RegExp(name) }, name);
  }
  await assert.rejects(host.entriesFrom('a b', 1, 1), { code: 'SESSION_ID_INVALID' });
  assert.throws(() => registry.countByStatus(loose<never>('x')), REFUSED);
  assert.equal((await host.registry.snapshot('a'))!.updatedAt, before);
  assert.equal((await registry.list()).rows.length, 1);
  assert.equal(
    (await host.registry.snapshot(await host.create({ createdAt: '2024-02-29' })))?.createdAt.slice(0, 10),
    '2024-02-29',
  );
});

test('what an agent says wrongly of itself is refused, and does not count', async (t) => {
  const module = join(tempDir(t), 'reporter.mjs');
  writeFileSync(
    module,
    `const codeOf = (call) => { try { call(); return null; } catch (error) { return error.code; } };
     export default {
       profile: 'reporter',
       run: (ctx) => [
         () => ctx.progress(0.5, 5), () => ctx.progress(null), () => ctx.progress('0.7'), () => ctx.progress(true),
         () => ctx.report(null), () => ctx.report(5), () => ctx.report({ costUsd: -1 }), () => ctx.report({ latencyMs: -1 }),
         () => ctx.report({ costUsd: Number.MAX_VALUE }), () => ctx.report({ costUsd: Number.MAX_VALUE }),
         () => ctx.report({ costUsd: 1 }),
       ].map(codeOf),
     };`,
  );
  const host = await launch(t, { threads: 1, agents: [module] });
  await host.create({ sessionId: 'a', agentProfile: 'reporter' });
  const { output } = await host.send('a', null).result;
  const code = 'INVALID_ARGUMENT';
  assert.deepEqual(output, [code, code, code, code, code, code, code, code, null, code, null]);
  assert.equal((await host.registry.snapshot('a'))?.totalCost, Number.MAX_VALUE);
});
