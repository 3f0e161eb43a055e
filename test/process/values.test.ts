// Values as clients of the HTTP API give and get them: nested as deep as may be, and deeper; with maps; after a crash.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VALUE_MAX_DEPTH } from '../../src/protocol/limits.js';
import type { Place, ValuesAnswer } from '../agents/values.js';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { UNREADABLE, depthOf, nested } from '../support/values.js';
import { accept, create, ended, EventClient, flags, history, run } from './client.js';
import { assertRefused, list, raw } from './requests.js';

const AGENTS = ['values', 'general'];
const PLACES: readonly Place[] = ['output', 'entry', 'emit', 'yield'];

const post = (body: string): RequestInit => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body });

describe('values over HTTP', () => {
  it('are refused with 400 when they are nested too deep, and the server goes on', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'general');
    for (const depth of [VALUE_MAX_DEPTH + 1, 1_500, 5_000, 20_000, 200_000]) {
      const value = '['.repeat(depth) + ']'.repeat(depth);
      const input = await raw(server, `/api/sessions/${id}/runs`, post(`{"input":${value}}`));
      assertRefused(input, 400, 'VALUE_NOT_ENCODABLE');
      const params = await raw(server, '/api/sessions', post(`{"agent_profile":"general","params":{"x":${value}}}`));
      assertRefused(params, 400, 'VALUE_NOT_ENCODABLE');
    }
    assert.deepEqual((await list(server, '')).ids, [id]);
    assert.deepEqual(await run(server, id, 'still there'), { echo: 'still there', runs: 1 });
    assert.equal(server.child.exitCode, null);
  });

  it('of an agent that nobody could read fail its runs; the process and the other sessions do not notice', async (t) => {
    const dataDir = tempDir(t);
    const server = await Server.start(t, flags(dataDir, AGENTS, '--threads', '1'));
    const [id, other] = [await create(server, 'values'), await create(server, 'general')];
    const client = await EventClient.open(server, id, 0);
    t.after(() => client.close());
    let runs = 0;
    for (const put of PLACES) {
      for (const value of Object.keys(UNREADABLE)) {
        const { state, code } = await ended(server, id, await accept(server, id, { put, value }));
        assert.deepEqual([state, code], ['failed', 'VALUE_NOT_ENCODABLE'], `${put} ${value}`);
        runs++;
      }
    }
    assert.deepEqual(await run(server, other, 1), { echo: 1, runs: 1 });
    const entries = await history(server, id);
    await client.until('the history', () => client.seqs.length >= entries.length);
    assert.deepEqual(
      client.seqs,
      entries.map(({ seq }) => seq),
    );
    await server.kill();
    // Nothing was saved since the start: all of it is the tail.
    const next = await Server.start(t, flags(dataDir, AGENTS, '--threads', '1'));
    const { tail } = await run<ValuesAnswer>(next, id, {});
    assert.deepEqual(
      tail!.map(([seq]) => seq),
      entries.map(({ seq }) => seq),
    );
    assert.equal(tail!.filter(([, depth]) => depth > 0).length, runs);
  });

  it(`are given back as they were when they are nested ${VALUE_MAX_DEPTH} deep, also after a crash`, async (t) => {
    const dataDir = tempDir(t);
    const deepest = VALUE_MAX_DEPTH;
    const server = await Server.start(t, flags(dataDir, AGENTS, '--threads', '1'));
    const id = await create(server, 'values', { params: { deep: nested(deepest - 1) } });
    const client = await EventClient.open(server, id, 0);
    t.after(() => client.close());
    const first = await run<ValuesAnswer>(server, id, { deep: nested(deepest - 1) });
    assert.deepEqual([first.params, first.input], [deepest, deepest - 1]);
    assert.equal(depthOf(await run(server, id, { put: 'output', value: deepest })), deepest);
    for (const put of ['entry', 'emit', 'yield']) await run(server, id, { put, value: deepest });
    const entries = await history(server, id);
    assert.equal(depthOf(entries[0]!['content']), deepest);
    assert.equal(depthOf(entries.find(({ role }) => role === 'value')!['value']), deepest - 1);
    await client.until('the history', () => client.seqs.length === entries.length);
    assert.deepEqual(
      client.events.filter(({ kind }) => kind === 'entry').map(({ data }) => data),
      entries,
    );
    const emitted = client.events.filter(({ kind }) => kind === 'event');
    assert.deepEqual(
      emitted.map(({ data }) => depthOf(data['data'])),
      [deepest, deepest],
    );
    await server.kill();
    const next = await Server.start(t, flags(dataDir, AGENTS, '--threads', '1'));
    const { tail, params } = await run<ValuesAnswer>(next, id, {});
    assert.equal(params, deepest);
    assert.equal(new Map(tail).get(1), deepest);
  });
});
