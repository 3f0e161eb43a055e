// What a caller says wrong is told to it by name, and a host that is closed takes no subscriber.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHost, type Host } from '../../src/main/index.js';
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
  for (const agents of ['', [''], [testAgent('general'), '']]) {
    await assert.rejects(createHost({ agents, dataDir: tempDir(t), threads: 1, logLevel: 'silent' }), {
      code: 'CONFIG_INVALID',
    });
  }
});
