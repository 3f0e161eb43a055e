// The HTTP API beside sessions and runs: health, what it does not know, its threads and its store, and that
// it answers while agents spin.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { createServer } from '../../src/main/server/http.js';
import { REQUEST_MAX_MS } from '../../src/protocol/limits.js';
import { launch } from '../main/launch.js';
import { testAgent } from '../support/host.js';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { create, flags, history, inParallel, runOf, sessionOf, spin } from './client.js';
import { assertRefused, list, start } from './requests.js';

/** What the server answers to this text, until it ends the connection. */
async function said(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.setEncoding('utf8').end(text);
  let answer = '';
  for await (const part of socket) answer += part as string;
  return answer;
}

describe('the HTTP API, whatever the sessions do', () => {
  it('tells that it lives and that it is ready', async (t) => {
    const server = await start(t);
    const alive = await server.request('GET', '/healthz');
    assert.deepEqual([alive.status, alive.body], [200, { status: 'ok' }]);
    const ready = await server.request('GET', '/readyz');
    assert.deepEqual([ready.status, ready.body], [200, { status: 'ready' }]);
  });

  it('answers what it does not know with an error of the one shape', async (t) => {
    const server = await start(t);
    assertRefused(await server.request('GET', '/nowhere'), 404, 'NOT_FOUND');
    assertRefused(await server.request('PUT', '/api/sessions', {}), 404, 'NOT_FOUND');
    assertRefused(await server.request('DELETE', '/api/sessions'), 404, 'NOT_FOUND');
    assertRefused(await server.request('GET', `/api/sessions/${'x'.repeat(1000)}`), 400, 'INVALID_ARGUMENT');
  });

  it('answers a URL that cannot be decoded with an error of the one shape', async (t) => {
    const server = await start(t);
    assertRefused(await server.request('GET', '/api/sessions/%zz'), 400, 'INVALID_ARGUMENT');
  });

  it('answers what is no request, or has too large a head, with an error of the one shape', async (t) => {
    const { port } = new URL((await start(t)).url);
    for (const [text, status, code] of [
      ['This is no HTTP\r\n\r\n', 400, 'INVALID_ARGUMENT'],
      [`GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
    ] as const) {
      const [head, body] = (await said(Number(port), text)).split('\r\n\r\n');
      assert.match(head!, new RegExp(`^HTTP/1.1 ${status} .*content-type: application/json`, 's'));
      const { error, ...rest } = JSON.parse(body!) as { error: string; code: string };
      assert.deepEqual([rest, error.length > 0], [{ code }, true]);
    }
  });

  it('does not wait for ever for the rest of a request', async (t) => {
    // The limit itself: Node looks for requests that are late twice a minute at most.
    const server = createServer(await launch(t, { agents: [testAgent('counter')], threads: 1 }));
    t.after(() => server.close());
    assert.equal(server.server.requestTimeout, REQUEST_MAX_MS);
    assert.ok(server.server.headersTimeout > 0 && server.server.headersTimeout <= REQUEST_MAX_MS);
  });

  it('shows what each thread runs, since when, and what the store has committed', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['counter'], '--threads', '2'));
    const began = Date.now();
    const id = await create(server, 'counter');
    const runId = await spin(server, id, 'check');
    const look = async () => (await server.request('GET', '/api/threads')).body;
    const threads = (await look())['threads'] as Record<string, unknown>[];
    const [busy, idle] = threads.toSorted((a, b) => String(a['state']).localeCompare(String(b['state'])));
    assert.deepEqual([busy!['state'], busy!['session_id'], busy!['run_id'], busy!['sessions']], ['busy', id, runId, 1]);
    const since = Date.parse(busy!['since'] as string);
    assert.ok(since >= began && since <= Date.now(), `since ${String(busy!['since'])}`);
    assert.deepEqual(
      [idle!['state'], idle!['session_id'], idle!['run_id'], idle!['since']],
      ['idle', null, null, null],
    );
    for (const { crashes, interrupts, migrations } of threads) {
      assert.deepEqual([crashes, interrupts, migrations], [0, 0, 0]);
    }

    const before = (await look())['store'] as { commits: number; operations: number };
    const MADE = 40;
    await inParallel(20, Array<string>(MADE).fill('counter'), (profile) => create(server, profile));
    const after = (await look())['store'] as { commits: number; operations: number };
    const commits = after.commits - before.commits;
    const operations = after.operations - before.operations;
    // Each is created and brought up.
    assert.ok(operations >= 2 * MADE, `${operations} operations`);
    assert.ok(commits >= 2 && commits < operations, `${commits} commits of ${operations} operations`);
  });

  it('names the field that is wrong, and what it may be', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['general']));
    const id = await create(server, 'general');
    for (const [path, body, words] of [
      ['/api/sessions', { agent_profile: 'general', nmae: 'Anna' }, /nmae/],
      [`/api/sessions/${id}/runs`, { input: 1, run_Id: 'x' }, /run_Id/],
      [`/api/sessions/${id}/runs`, { input: 1, when_busy: 'later' }, /when_busy.*enqueue.*interrupt/],
    ] as const) {
      const { status, body: answer } = await server.request('POST', path, body);
      assert.deepEqual([status, answer['code']], [400, 'INVALID_ARGUMENT']);
      assert.match(String(answer['error']), words);
    }
    const { body } = await server.request('GET', '/api/sessions?limti=5');
    assert.match(String(body['error']), /limti/);
  });

  it('answers while agents spin for ever on every thread', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['counter', 'general'], '--threads', '2'));
    const old = await create(server, 'general', { name: 'was there before' });
    const spinners = [await create(server, 'counter'), await create(server, 'counter')];
    for (const id of spinners) await spin(server, id, 'never');
    for (let i = 0; i < 50; i++) {
      assert.equal((await server.request('GET', '/api/sessions')).status, 200, `list ${i}`);
    }
    const rows = (await server.request('GET', '/api/sessions')).body['sessions'] as { id: string; status: string }[];
    const status = new Map(rows.map((row) => [row.id, row.status]));
    assert.deepEqual(
      [...spinners, old].map((id) => status.get(id)),
      ['running', 'running', 'idle'],
    );
    const made = await server.request('POST', '/api/sessions', { agent_profile: 'counter' });
    assert.equal(made.status, 201);
    const id = sessionOf(made)['id'] as string;
    const sent = await server.request('POST', `/api/sessions/${id}/runs`, { input: {} });
    assert.deepEqual([sent.status, runOf(sent).state], [202, 'queued']);
    assert.equal((await history(server, id)).length, 1);
    // One that waits, one that is idle in a blocked thread, and one that spins itself.
    for (const victim of [id, old, spinners[0]!]) {
      assert.equal((await server.request('DELETE', `/api/sessions/${victim}`)).status, 204);
      assert.equal((await server.request('GET', `/api/sessions/${victim}`)).status, 404);
    }
    assert.deepEqual((await list(server, '')).ids, [spinners[1]]);
  });
});
