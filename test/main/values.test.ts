// What may be in an output, an entry, an event, an input and params: what cannot be read elsewhere is refused where it is
// said, and costs nobody else anything.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { EventStream, Host, RunInfo, SessionEvent } from '../../src/main/index.js';
import { VALUE_MAX_DEPTH } from '../../src/protocol/limits.js';
import type { Place, ValuesAnswer, ValuesInput } from '../agents/values.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { UNREADABLE, depthOf, nested, type Unreadable } from '../support/values.js';
import { launch, outputOf } from './launch.js';

const agents = ['values', 'general'].map(testAgent);
const PLACES: readonly Place[] = ['output', 'entry', 'emit', 'yield', 'yieldAsync'];
const NAMES = Object.keys(UNREADABLE) as Unreadable[];

const use = (host: Host, input: ValuesInput): Promise<RunInfo> => host.send('a', input).result;

async function valuesHost(t: TestContext, dataDir = tempDir(t)): Promise<Host> {
  const host = await launch(t, { agents, dataDir, threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'values' });
  return host;
}

/** What comes until this holds. */
async function readUntil(stream: EventStream, last: (event: SessionEvent) => boolean): Promise<SessionEvent[]> {
  const seen: SessionEvent[] = [];
  for (;;) {
    const { value } = await stream.next();
    assert.ok(value, 'the stream goes on');
    seen.push(value);
    if (last(value)) return seen;
  }
}

const isEntryOf = (event: SessionEvent, role: string): boolean => event.type === 'entry' && event.entry.role === role;

for (const place of PLACES) {
  test(`what no other thread can read fails the run that puts it into its ${place}, and no more`, async (t) => {
    const dataDir = tempDir(t);
    const host = await valuesHost(t, dataDir);
    await host.create({ sessionId: 'b', agentProfile: 'general' });
    // Without a subscriber events are not even encoded.
    const stream = host.subscribe('a');
    for (const value of NAMES) {
      const run = await use(host, { put: place, value });
      assert.deepEqual([run.state, run.code, run.output], ['failed', 'VALUE_NOT_ENCODABLE', null], value);
      assert.match(run.error!, /cannot be encoded: ./, value);
      assert.deepEqual(await host.run('a', run.id), run);
    }
    const live = outputOf<ValuesAnswer>(await use(host, {}));
    assert.equal(live.runs, NAMES.length + 1);
    assert.equal(live.tail, null, 'the agent has stayed in memory');
    const seen = await readUntil(stream, (event) => event.type === 'run' && event.run.state === 'completed');
    assert.deepEqual(
      seen.filter(({ type }) => type === 'event' || type === 'gap'),
      [],
    );
    const roles = (await host.messages('a', { limit: 1000 }))!.messages.map((entry) => entry['role']);
    const each = place.startsWith('yield') ? ['user', 'cleaned', 'run'] : ['user', 'run'];
    assert.deepEqual(roles, [...NAMES.flatMap(() => each), 'user', 'run']);
    assert.equal((await host.send('b', 1).result).state, 'completed');
    await stream.return();
    await host.close();
    const next = await launch(t, { agents, dataDir, threads: 1 });
    assert.equal(outputOf<ValuesAnswer>(await use(next, {})).runs, NAMES.length + 2);
  });
}

for (const put of ['yield', 'yieldAsync'] as const) {
  test(`the finally block of a generator (${put}) runs when what it yields cannot be sent`, async (t) => {
    const host = await valuesHost(t);
    const stream = host.subscribe('a');
    t.after(() => stream.return());
    const run = await use(host, { put, value: 'cycle' });
    assert.deepEqual([run.state, run.code], ['failed', 'VALUE_NOT_ENCODABLE']);
    const roles = (await host.messages('a'))!.messages.map((entry) => entry['role']);
    assert.deepEqual(roles, ['user', 'cleaned', 'run']);
  });
}

test('an input that no thread can read is refused to its sender, and leaves nothing', async (t) => {
  const host = await valuesHost(t);
  for (const name of NAMES) {
    const run = host.send('a', { deep: UNREADABLE[name]() });
    await assert.rejects(run.accepted, { code: 'VALUE_NOT_ENCODABLE' }, name);
    await assert.rejects(run.result, { code: 'VALUE_NOT_ENCODABLE' }, name);
  }
  await assert.rejects(host.send('a', { deep: Symbol('no bytes') }).accepted, { code: 'VALUE_NOT_ENCODABLE' });
  assert.equal(outputOf<ValuesAnswer>(await use(host, {})).runs, 1);
  assert.equal((await host.messages('a'))!.messages.length, 2);
});

test('params that cannot be kept are refused to their caller; a function among them is undefined', async (t) => {
  const host = await valuesHost(t);
  const bad: Record<string, unknown> = { symbol: Symbol('no bytes') };
  for (const name of NAMES) bad[name] = UNREADABLE[name]();
  for (const [sessionId, value] of Object.entries(bad)) {
    const params = { value, padding: 'x'.repeat(5_000) };
    // At the same time as another's, which travels in the same message to the thread.
    const [refused, created] = await Promise.allSettled([
      host.create({ sessionId, agentProfile: 'values', params }),
      host.create({ sessionId: `beside-${sessionId}`, agentProfile: 'values', params: { fine: true } }),
    ]);
    assert.equal(refused.status === 'rejected' && (refused.reason as { code: string }).code, 'VALUE_NOT_ENCODABLE');
    assert.equal(created.status, 'fulfilled', sessionId);
    assert.equal(await host.registry.snapshot(sessionId), undefined);
  }
  const odd = { callback: () => 1, proxied: new Proxy({ a: 1 }, {}), map: new Map([['k', new Set([1])]]) };
  await host.create({ sessionId: 'odd', agentProfile: 'values', params: odd });
  assert.equal((await host.send('odd', {}).result).state, 'completed');
});

test(`what is nested ${VALUE_MAX_DEPTH} deep is taken everywhere, and read back as deep`, async (t) => {
  const deepest = VALUE_MAX_DEPTH;
  const host = await launch(t, { agents, threads: 1 });
  // Params, like an entry, are a level themselves; so is this input.
  await host.create({ sessionId: 'a', agentProfile: 'values', params: { deep: nested(deepest - 1) } });
  const stream = host.subscribe('a');
  const first = outputOf<ValuesAnswer>(await use(host, { deep: nested(deepest - 1) }));
  assert.deepEqual([first.params, first.input], [deepest, deepest - 1]);
  for (const put of PLACES) {
    const run = await use(host, { put, value: deepest });
    assert.equal(run.state, 'completed', `${put}: ${run.error}`);
    if (put === 'output') assert.equal(depthOf((await host.run('a', run.id))!.output), deepest);
  }
  let runs = 0;
  const seen = await readUntil(stream, (event) => isEntryOf(event, 'run') && ++runs === PLACES.length + 1);
  const depths = (event: SessionEvent): number[] => (event.type === 'event' ? [depthOf(event.data)] : []);
  assert.deepEqual(seen.flatMap(depths), [deepest, deepest, deepest]);
  assert.deepEqual(
    seen.flatMap((event) => (isEntryOf(event, 'value') && event.type === 'entry' ? [depthOf(event.entry)] : [])),
    [deepest],
  );
  await stream.return();
  const { messages } = (await host.messages('a'))!;
  assert.equal(depthOf(messages[0]!['content']), deepest);
  assert.equal(depthOf(messages.find((entry) => entry['role'] === 'value')!['value']), deepest - 1);
  // The thread dies: all of it comes back as the tail.
  assert.equal((await use(host, { exit: true })).state, 'failed');
  const restored = outputOf<ValuesAnswer>(await use(host, {}));
  assert.equal(restored.params, deepest);
  const tail = new Map(restored.tail);
  assert.equal(tail.get(1), deepest);
  assert.equal([...tail.values()].filter((depth) => depth === deepest - 1).length, 1);
});

test('what is nested as deep as may be comes back with a session that has left memory', async (t) => {
  const host = await launch(t, { agents, threads: 1, maxIdleAgents: 0 });
  await host.create({ sessionId: 'a', agentProfile: 'values', params: { deep: nested(VALUE_MAX_DEPTH - 1) } });
  assert.equal((await use(host, { put: 'entry', value: VALUE_MAX_DEPTH })).state, 'completed');
  await host.registry.evictExcessIdle();
  await until('it has left', () => !host.registry.exists('a'));
  const back = outputOf<ValuesAnswer>(await use(host, {}));
  assert.deepEqual([back.runs, back.tail, back.params], [2, [], VALUE_MAX_DEPTH]);
  const { messages } = (await host.messages('a'))!;
  assert.equal(depthOf(messages[1]!['value']), VALUE_MAX_DEPTH - 1);
});

test('an input is not made shallower by what the host puts around it', async (t) => {
  const host = await launch(t, { agents, threads: 1 });
  await host.create({ sessionId: 'b', agentProfile: 'general' });
  const run = await host.send('b', nested(VALUE_MAX_DEPTH - 1)).result;
  assert.equal(run.state, 'completed', 'its echo is a level deeper');
  await assert.rejects(host.send('b', nested(VALUE_MAX_DEPTH + 1)).accepted, { code: 'VALUE_NOT_ENCODABLE' });
  const deepest = await host.send('b', nested(VALUE_MAX_DEPTH)).result;
  assert.deepEqual([deepest.state, deepest.code], ['failed', 'VALUE_NOT_ENCODABLE']);
  assert.equal(depthOf((await host.messages('b', { limit: 2 }))!.messages[0]!['content']), VALUE_MAX_DEPTH);
});
