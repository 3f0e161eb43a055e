// Server-sent events: what a client sees, and that a client which comes back has missed nothing and sees nothing twice.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, EventClient, flags, history, run, type SseEvent } from './client.js';

const AGENTS = ['counter', 'general'];

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

function hasEnded(events: SseEvent[]): boolean {
  return events.some((event) => event.kind === 'run' && (event.data['run'] as { state: string }).state === 'completed');
}

describe('the event stream of a session', () => {
  it('shows entries with their seq as id, what the run yields, and the run itself', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'counter');
    const client = await EventClient.open(server, id);
    t.after(() => client.close());
    const runId = await accept(server, id, { by: 3 });
    await client.until('the end', (events) => hasEnded(events) && client.seqs.length === 5);
    assert.deepEqual(client.seqs, [1, 2, 3, 4, 5]);
    const entries = client.events.filter((event) => event.kind === 'entry');
    assert.deepEqual(
      entries.map((event) => event.data),
      await history(server, id),
      'entries are as the messages show them',
    );
    const yielded = client.events.filter((event) => event.kind === 'event');
    assert.deepEqual(
      yielded.map((event) => event.data),
      [1, 2, 3].map((n) => ({ run_id: runId, data: { n } })),
    );
    const states = client.events
      .filter((event) => event.kind === 'run')
      .map((event) => event.data['run'] as Record<string, unknown>);
    assert.equal(states.at(-1)!['id'], runId);
    assert.equal(states.at(-1)!['state'], 'completed');
    assert.deepEqual(states.at(-1)!['output'], { n: 3 });
    assert.equal(states.filter((state) => state['state'] === 'completed').length, 1);
    for (const event of client.events) {
      assert.equal(event.id !== null, event.kind === 'entry', 'only entries carry an id');
      assert.ok(['entry', 'event', 'run', 'progress'].includes(event.kind), event.kind);
    }
  });

  it('shows progress while a run goes on', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'counter');
    const client = await EventClient.open(server, id);
    t.after(() => client.close());
    const runId = await accept(server, id, { by: 2, sleepMs: 60_000 });
    await client.until('progress', (events) => events.some((event) => event.kind === 'progress'));
    const { data } = client.events.find((event) => event.kind === 'progress')!;
    assert.deepEqual(data, { run_id: runId, progress: 0.5, label: 'counting' });
  });

  it('begins with what is new when no Last-Event-ID is given', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'counter');
    await run(server, id, { by: 2 });
    const client = await EventClient.open(server, id);
    t.after(() => client.close());
    await run(server, id, { by: 1 });
    await client.until('the new entries', () => client.seqs.length >= 3);
    assert.deepEqual(client.seqs, [5, 6, 7]);
  });

  it('misses nothing for a client that is cut off before the first entry comes', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'counter');
    await run(server, id, { by: 2 });
    const first = await EventClient.open(server, id);
    await first.until('where it begins', () => first.lastEventId !== null);
    assert.equal(first.lastEventId, 4);
    first.close();
    await run(server, id, { by: 1 });
    const second = await EventClient.open(server, id, first.lastEventId);
    t.after(() => second.close());
    await second.until('what was missed', () => second.seqs.length >= 3);
    assert.deepEqual(second.seqs, [5, 6, 7]);
  });

  it('gives exactly what was missed after Last-Event-ID, and goes on from there', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'counter');
    await run(server, id, { by: 600 });
    for (const last of [0, 1, 300, 601, 602]) {
      const client = await EventClient.open(server, id, last);
      t.after(() => client.close());
      await client.until('what was missed', () => client.seqs.length >= 602 - last);
      assert.deepEqual(client.seqs, upTo(602).slice(last));
      client.close();
    }
    const client = await EventClient.open(server, id, 602);
    t.after(() => client.close());
    await run(server, id, { by: 1 });
    await client.until('the new entries', () => client.seqs.length >= 3);
    assert.deepEqual(client.seqs, [603, 604, 605]);
  });

  it('goes on from the end of the history if Last-Event-ID is beyond it', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    for (const entries of [0, 4]) {
      const id = await create(server, 'counter');
      if (entries > 0) await run(server, id, { by: entries - 2 });
      const client = await EventClient.open(server, id, 1_000);
      t.after(() => client.close());
      await run(server, id, { by: 1 });
      await client.until('the new entries, and the end', (events) => client.seqs.length >= 3 && hasEnded(events));
      assert.deepEqual(client.seqs, upTo(entries + 3).slice(entries));
    }
  });

  it('takes the seq as a query too, for clients that cannot set headers', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'general');
    await run(server, id, 'x');
    const response = await fetch(`${server.url}/api/sessions/${id}/events?last_event_id=1`);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('id: 2\n')) {
      const { value, done } = await reader.read();
      assert.ok(!done, text);
      text += value;
    }
    assert.ok(!text.includes('id: 1\n'));
    await reader.cancel();
  });

  it('misses nothing and repeats nothing for a client that reconnects again and again during a run', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'counter');
    const total = 3_002;
    const runId = await accept(server, id, { by: total - 2 });
    const seen: number[] = [];
    let connections = 0;
    while ((seen.at(-1) ?? 0) < total) {
      const client = await EventClient.open(server, id, seen.at(-1) ?? 0);
      t.after(() => client.close());
      connections++;
      const wanted = Math.min(150, total - seen.length);
      await client.until('some more', () => client.seqs.length >= wanted);
      seen.push(...client.seqs);
      client.close();
    }
    assert.ok(connections > 1);
    assert.deepEqual(seen, upTo(total));
    assert.equal((await ended(server, id, runId)).state, 'completed');
  });

  it('serves any number of clients of one session alike', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'counter');
    const clients = await Promise.all(Array.from({ length: 20 }, () => EventClient.open(server, id, 0)));
    t.after(() => clients.forEach((client) => client.close()));
    await run(server, id, { by: 50 });
    for (const client of clients) {
      await client.until('all entries', () => client.seqs.length >= 52);
      assert.deepEqual(client.seqs, upTo(52));
    }
  });

  it('survives a restart of the server: the seq of the last event is still good', async (t) => {
    const data = tempDir(t);
    const first = await Server.start(t, flags(data, AGENTS, '--threads', '1'));
    const id = await create(first, 'counter');
    const before = await EventClient.open(first, id, 0);
    await run(first, id, { by: 4 });
    await before.until('all entries', () => before.seqs.length >= 6);
    assert.equal(await first.stop(), 0, 'an open stream does not hold the shutdown up');
    await before.ended;
    const second = await Server.start(t, flags(data, AGENTS, '--threads', '1'));
    const after = await EventClient.open(second, id, before.seqs.at(-1));
    t.after(() => after.close());
    assert.deepEqual(await run(second, id, { by: 1 }), { n: 5 });
    await after.until('the new entries', () => after.seqs.length >= 3);
    assert.deepEqual(after.seqs, [7, 8, 9]);
  });

  it('leaves out an entry that is damaged, says so, and goes on behind it', async (t) => {
    const data = tempDir(t);
    const first = await Server.start(t, flags(data, AGENTS));
    const id = await create(first, 'counter');
    await run(first, id, { entries: 8 });
    await first.stop();
    const db = new Sqlite(join(data, 'cabana.db'));
    db.exec('UPDATE journal SET body = CAST(substr(body, 1, length(body) - 1) AS BLOB) WHERE seq = 5');
    db.close();
    const second = await Server.start(t, flags(data, AGENTS, '--log-level', 'error'));
    const client = await EventClient.open(second, id, 0);
    t.after(() => client.close());
    await run(second, id, { by: 1 });
    await client.until('the next run', hasEnded);
    const { seqs } = client;
    assert.deepEqual(
      seqs,
      upTo(seqs.at(-1)!).filter((seq) => seq !== 5),
    );
    assert.deepEqual(
      client.events.filter(({ kind }) => kind === 'gap').map(({ data: { missed } }) => missed),
      [1],
    );
    assert.match(second.stderr, /a damaged entry was left out/);
  });

  it('ends when the session is deleted, and tells of the run that was cut off by it', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const id = await create(server, 'counter');
    const client = await EventClient.open(server, id);
    t.after(() => client.close());
    const runId = await accept(server, id, { sleepMs: 60_000 });
    await client.until('its start', (events) => events.some((event) => event.kind === 'run'));
    assert.equal((await server.request('DELETE', `/api/sessions/${id}`)).status, 204);
    await client.ended;
    const last = client.events.filter((event) => event.kind === 'run').at(-1)!.data['run'] as Record<string, unknown>;
    assert.equal(last['id'], runId);
    assert.equal(last['state'], 'interrupted');
    assert.equal(last['code'], 'SESSION_DELETED');
  });

  it('answers 404 for a session that is not there, and 400 for what is no session id or no seq', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), AGENTS, '--threads', '1'));
    const unknown = await server.request('GET', '/api/sessions/nobody/events');
    assert.equal(unknown.status, 404);
    assert.equal(unknown.body['code'], 'SESSION_NOT_FOUND');
    const bad = await server.request('GET', '/api/sessions/.bad/events');
    assert.equal(bad.status, 400);
    assert.equal(bad.body['code'], 'SESSION_ID_INVALID');
    const id = await create(server, 'general');
    const response = await fetch(`${server.url}/api/sessions/${id}/events`, { headers: { 'last-event-id': '-1' } });
    assert.equal(response.status, 400);
    assert.equal(((await response.json()) as { code: string }).code, 'INVALID_ARGUMENT');
    const gone = await create(server, 'general');
    await server.request('DELETE', `/api/sessions/${gone}`);
    assert.equal((await server.request('GET', `/api/sessions/${gone}/events`)).status, 404);
  });
});
