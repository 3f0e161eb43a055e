// The HTTP API, runs: taken, ended, interrupted, refused.

import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, flags, history, inParallel, readRun, run, runOf, spin } from './client.js';
import { assertRefused, raw, start } from './requests.js';

const RUN_FIELDS = ['id', 'state', 'output', 'error', 'code', 'started_at', 'ended_at'];

const json = (body: string): RequestInit => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body });

describe('runs', () => {
  it('answers 202 when the input is on disk, and gives the run with its outcome', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const answer = await server.request('POST', `/api/sessions/${id}/runs`, { input: { by: 2 } });
    assert.equal(answer.status, 202);
    assert.deepEqual(Object.keys(answer.body), ['run']);
    assert.deepEqual(Object.keys(runOf(answer)).sort(), ['id', 'state']);
    assert.ok(['queued', 'running'].includes(runOf(answer).state));
    assert.deepEqual((await history(server, id))[0]!['content'], { by: 2 });
    const outcome = await ended(server, id, runOf(answer).id);
    assert.deepEqual(Object.keys(outcome).sort(), [...RUN_FIELDS].sort());
    const { started_at, ended_at } = outcome;
    assert.ok(started_at! <= ended_at!);
    assert.deepEqual(
      { ...outcome },
      {
        id: runOf(answer).id,
        state: 'completed',
        output: { n: 2 },
        error: null,
        code: null,
        started_at,
        ended_at,
      },
    );
  });

  it('passes any JSON value in and out unchanged', async (t) => {
    const server = await start(t);
    const id = await create(server, 'general');
    const values: unknown[] = [0, '', null, false, [], {}, 'ü\u0000\u{1F600}', [1.5, -2, 1e300], { a: { b: [null] } }];
    for (const value of values) {
      assert.deepEqual((await run<{ echo: unknown }>(server, id, value)).echo, value);
    }
    const inputs = (await history(server, id)).filter((entry) => entry.role === 'user');
    assert.deepEqual(
      inputs.map((entry) => entry['content']),
      values,
    );
  });

  it('takes a run id of the client, and answers a retry with the same run, also when it is over', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const body = { input: { by: 5 }, run_id: 'mine:1' };
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => server.request('POST', `/api/sessions/${id}/runs`, body)),
    );
    for (const answer of answers) assert.deepEqual([answer.status, runOf(answer).id], [202, 'mine:1']);
    assert.deepEqual((await ended(server, id, 'mine:1')).output, { n: 5 });
    const late = await server.request('POST', `/api/sessions/${id}/runs`, body);
    assert.deepEqual([late.status, runOf(late)], [202, { id: 'mine:1', state: 'completed' }]);
    assert.equal((await history(server, id)).filter((entry) => entry.role === 'user').length, 1);
    assert.deepEqual(await run(server, id, {}), { n: 5 });
  });

  it('answers a retry with what has become of the run since', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const runId = await spin(server, id, 'check');
    const waiting = await accept(server, id, {});
    const again = async (run_id: string) =>
      runOf(await server.request('POST', `/api/sessions/${id}/runs`, { input: {}, run_id }));
    assert.deepEqual(await again(runId), { id: runId, state: 'running' });
    assert.deepEqual(await again(waiting), { id: waiting, state: 'queued' });
    await server.request('POST', `/api/sessions/${id}/interrupt`);
    await ended(server, id, waiting);
    assert.deepEqual(await again(runId), { id: runId, state: 'interrupted' });
    assert.deepEqual(await again(waiting), { id: waiting, state: 'completed' });
  });

  it('runs the inputs of a session in the order in which they were answered', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const ids: string[] = [];
    for (let i = 0; i < 20; i++) ids.push(await accept(server, id, { by: 1 }));
    const outcomes = await Promise.all(ids.map((runId) => ended(server, id, runId)));
    assert.deepEqual(
      outcomes.map((outcome) => (outcome.output as { n: number }).n),
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });

  it('lets a reader wait for the end of a run, as long as asked and no longer', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const runId = await spin(server, id, 'check');
    const asked = performance.now();
    assert.equal((await readRun(server, id, runId, 150)).state, 'running');
    assert.ok(performance.now() - asked >= 140);
    const waiting = readRun(server, id, runId, 60_000);
    const answer = await server.request('POST', `/api/sessions/${id}/interrupt`);
    assert.equal(answer.status, 202);
    assert.deepEqual(answer.body, { interrupted: true, run_id: runId });
    const outcome = await waiting;
    assert.deepEqual([outcome.state, outcome.code], ['interrupted', 'RUN_INTERRUPTED']);
    assert.ok(performance.now() - asked < 20_000);
    for (const query of ['wait_ms=60001', 'wait_ms=x', 'wait_ms=-1', 'wait=1']) {
      assertRefused(await server.request('GET', `/api/sessions/${id}/runs/${runId}?${query}`), 400, 'INVALID_ARGUMENT');
    }
  });

  it('interrupts the run that is named, running or waiting, and no other', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const interrupt = (body?: unknown) => server.request('POST', `/api/sessions/${id}/interrupt`, body);
    assert.deepEqual((await interrupt()).body, { interrupted: false, run_id: null });
    const first = await spin(server, id, 'check');
    const second = await accept(server, id, { by: 1 });
    const third = await accept(server, id, { by: 1 });
    assert.deepEqual((await interrupt({ run_id: 'nobody' })).body, { interrupted: false, run_id: null });
    assert.deepEqual((await interrupt({ run_id: second })).body, { interrupted: true, run_id: second });
    assert.equal((await ended(server, id, second)).state, 'interrupted');
    assert.equal((await readRun(server, id, first)).state, 'running');
    assert.deepEqual((await interrupt({ run_id: first })).body, { interrupted: true, run_id: first });
    assert.equal((await ended(server, id, first)).state, 'interrupted');
    assert.deepEqual((await ended(server, id, third)).output, { n: 1 });
    assertRefused(await interrupt({ run_id: '.x' }), 400, 'RUN_ID_INVALID');
    assertRefused(await interrupt({ colour: 'red' }), 400, 'INVALID_ARGUMENT');
    assertRefused(await interrupt([]), 400, 'INVALID_ARGUMENT');
  });

  it('does with a busy session what when_busy says', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const send = (body: unknown) => server.request('POST', `/api/sessions/${id}/runs`, body);
    const first = await spin(server, id, 'check');
    assertRefused(await send({ input: {}, when_busy: 'reject' }), 409, 'SESSION_BUSY');
    const queued = await send({ input: {}, when_busy: 'enqueue' });
    assert.deepEqual([queued.status, runOf(queued).state], [202, 'queued']);
    const urgent = await send({ input: { by: 1 }, when_busy: 'interrupt' });
    assert.equal(urgent.status, 202);
    assert.equal((await ended(server, id, first)).state, 'interrupted');
    assert.equal((await ended(server, id, runOf(urgent).id)).state, 'completed');
    assert.equal((await send({ input: {}, when_busy: 'reject' })).status, 202);
    // What was refused left no trace.
    assert.equal((await history(server, id)).filter((entry) => entry.role === 'user').length, 4);
  });

  it('refuses what comes after 1,024 waiting runs with 429, and takes more when there is room', async (t) => {
    const server = await start(t);
    const id = await create(server, 'counter');
    const first = await spin(server, id, 'check');
    const waiting = await inParallel(64, Array.from({ length: 1024 }), () => accept(server, id, { by: 1 }));
    const more = { input: { by: 1 }, run_id: 'one-too-many' };
    assertRefused(await server.request('POST', `/api/sessions/${id}/runs`, more), 429, 'MAILBOX_FULL');
    assertRefused(await server.request('GET', `/api/sessions/${id}/runs/one-too-many`), 404, 'RUN_NOT_FOUND');
    // Another session is not concerned, and a retry of what waits is not new.
    const other = await create(server, 'counter');
    await accept(server, other, {});
    assert.equal(await accept(server, id, { by: 1 }, waiting[0]), waiting[0]);
    assert.equal((await server.request('POST', `/api/sessions/${id}/interrupt`, { run_id: first })).status, 202);
    await ended(server, id, first);
    await ended(server, id, waiting.at(-1)!);
    assert.deepEqual(await run(server, id, { by: 1 }), { n: 1025 });
  });

  it('refuses a body of another type than JSON with 415', async (t) => {
    const server = await start(t);
    const id = await create(server, 'general');
    const path = `/api/sessions/${id}/runs`;
    for (const type of ['application/xml', 'application/x-www-form-urlencoded', 'text/plain']) {
      const answer = await raw(server, path, {
        method: 'POST',
        headers: { 'content-type': type },
        body: '{"input":1}',
      });
      assertRefused(answer, 415, 'UNSUPPORTED_MEDIA_TYPE');
    }
  });

  it('refuses bad bodies: unknown fields, no input, wrong types, malformed or too large ones', async (t) => {
    const server = await start(t);
    const id = await create(server, 'general');
    const path = `/api/sessions/${id}/runs`;
    const bad: unknown[] = [
      {},
      { input: 1, colour: 'red' },
      { input: 1, when_busy: 'later' },
      { input: 1, run_id: 7 },
      { inputs: 1 },
      [],
      null,
      7,
    ];
    for (const body of bad) assertRefused(await server.request('POST', path, body), 400, 'INVALID_ARGUMENT');
    assertRefused(await server.request('POST', path, { input: 1, run_id: '' }), 400, 'RUN_ID_INVALID');
    for (const text of ['{"input":', '{input:1}', 'nonsense', '']) {
      assertRefused(await raw(server, path, json(text)), 400, 'INVALID_ARGUMENT');
    }
    const poisoned = '{"input":{"__proto__":{"polluted":true}}}';
    assertRefused(await raw(server, path, json(poisoned)), 400, 'INVALID_ARGUMENT');
    // A body over the server's cap, and an input over its own.
    const huge = JSON.stringify({ input: 'x'.repeat(9 * 1024 * 1024) });
    assertRefused(await raw(server, path, json(huge)), 413, 'PAYLOAD_TOO_LARGE');
    const large = { input: 'x'.repeat(4 * 1024 * 1024 + 1) };
    assertRefused(await server.request('POST', path, large), 413, 'PAYLOAD_TOO_LARGE');
    const params = { agent_profile: 'general', params: { x: 'x'.repeat(256 * 1024 + 1) } };
    assertRefused(await server.request('POST', '/api/sessions', params), 413, 'PAYLOAD_TOO_LARGE');
    assert.deepEqual(await history(server, id), []);
    assert.deepEqual(await run(server, id, 'x'.repeat(3 * 1024 * 1024).length), { echo: 3 * 1024 * 1024, runs: 1 });
  });
});

test('a waiting run that was cancelled stays cancelled, however soon the process dies', async (t) => {
  const data = tempDir(t);
  const first = await Server.start(t, flags(data, ['counter'], '--threads', '1'));
  const id = await create(first, 'counter');
  await spin(first, id, 'never');
  const waits = await accept(first, id, { by: 1 });
  const { body } = await first.request('POST', `/api/sessions/${id}/interrupt`, { run_id: waits });
  assert.deepEqual(body, { interrupted: true, run_id: waits });
  await first.kill();
  const second = await Server.start(t, flags(data, ['counter']));
  assert.equal((await ended(second, id, waits)).code, 'RUN_INTERRUPTED');
});
