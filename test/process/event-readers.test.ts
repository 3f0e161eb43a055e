// What the readers of an event stream leave behind: slow ones, those that are gone at once, those that only ask for its
// headers, and those that follow a history of large entries.

import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { createServer } from '../../src/main/server/http.js';
import { ANSWER_MAX_MS, SSE_STALLED_MAX_MS } from '../../src/protocol/limits.js';
import { launch, launchWithClock } from '../main/launch.js';
import { testAgent, until } from '../support/host.js';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { create, EventClient, flags, history, run } from './client.js';

/** More than the sockets' buffers take. */
const LARGE_CHARS = 15 * 1024 * 1024;

/** A client that has asked for a history with a large entry and has read nothing yet, and the server's end of its socket. */
async function askForLargeEntry(t: TestContext, path: string) {
  const { host, clock } = await launchWithClock(t, { agents: [testAgent('bulky')], threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'bulky' });
  await host.send('a', { append: [LARGE_CHARS] }).result;
  const http = createServer(host);
  t.after(() => http.close());
  const { hostname, port } = new URL(await http.listen({ port: 0, host: '127.0.0.1' }));
  const accepted = new Promise<Socket>((resolve) => http.server.on('connection', resolve));
  const socket = connect(Number(port), hostname);
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.write(`GET /api/sessions/a/${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  return { host, clock, socket, server: await accepted };
}

describe('readers of the event stream, and of large answers,', () => {
  it('leave no listener behind for each time that they were waited for', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['bulky'], '--threads', '1', '--log-level', 'error'));
    const id = await create(server, 'bulky');
    const count = 60;
    await run(server, id, { append: Array.from({ length: count }, () => 300_000) });
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    t.after(() => socket.destroy());
    let tail = '';
    socket.on('data', (chunk: Buffer) => {
      tail = (tail + chunk.toString('latin1')).slice(-200_000);
      // Reads a chunk each turn: everything behind it has to wait.
      socket.pause();
      setImmediate(() => socket.resume());
    });
    socket.write(`GET /api/sessions/${id}/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 0\r\n\r\n`);
    await until('its end', () => tail.includes(`id: ${count + 2}\n`), 60_000);
    assert.equal(server.stderr, '');
  });

  it('see all of a history of large entries, in order, and what comes then', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['bulky'], '--threads', '1'));
    const id = await create(server, 'bulky');
    // The seventh is more than a page by itself.
    const chars = [3, 3, 3, 0, 3, 3, 9, 1, 1, 1].map((mib) => mib * 1024 * 1024);
    await run(server, id, { append: chars });
    const all = Array.from({ length: chars.length + 2 }, (_, i) => i + 1);
    for (const last of [0, 7, all.length]) {
      const client = await EventClient.open(server, id, last);
      t.after(() => client.close());
      await client.until('the history', () => client.seqs.length >= all.length - last);
      assert.deepEqual(client.seqs, all.slice(last));
      for (const { id: seq, data } of client.events.filter(({ kind }) => kind === 'entry')) {
        const size = chars[Number(seq) - 2];
        if (size !== undefined) assert.equal((data['text'] as string).length, size);
      }
      client.close();
    }
    const client = await EventClient.open(server, id, 0);
    t.after(() => client.close());
    await run(server, id, { append: [5] });
    await client.until('what is new', () => client.seqs.length >= all.length + 3);
    assert.deepEqual(client.seqs, [...all, ...[1, 2, 3].map((n) => all.length + n)]);
    assert.deepEqual(
      (await history(server, id)).map(({ seq }) => seq),
      client.seqs,
    );
  });

  it('that read a large entry slowly are not cut off, however long it takes', async (t) => {
    const { clock, socket, server } = await askForLargeEntry(t, 'events?last_event_id=0');
    const [stepBytes, end] = [2 * 1024 * 1024, /\nid: 3\n/];
    let [read, wanted, tail] = [0, 0, ''];
    socket.on('data', (chunk: Buffer) => {
      read += chunk.byteLength;
      tail = (tail + chunk.toString('latin1')).slice(-200_000);
      if (read >= wanted) socket.pause();
    });
    while (!end.test(tail)) {
      const [readBefore, writtenBefore] = [read, server.bytesWritten];
      await until('a step', () => {
        wanted = read + 1;
        socket.resume();
        const hasGoneOn = server.bytesWritten > writtenBefore;
        return hasGoneOn || read >= readBefore + stepBytes || end.test(tail) || socket.closed;
      });
      assert.ok(!socket.closed, `cut off after ${read} bytes`);
      // Between two steps it reads nothing, for less than the time after which it would be cut off.
      clock.advance(SSE_STALLED_MAX_MS * 0.6);
    }
    assert.ok(read > LARGE_CHARS);
  });

  it('that read nothing at all are cut off', async (t) => {
    const { host, clock, server } = await askForLargeEntry(t, 'events?last_event_id=0');
    await until('it is cut off', () => {
      if (server.writableNeedDrain) clock.advance(SSE_STALLED_MAX_MS);
      return server.destroyed;
    });
    await until('nobody watches', () => host.registry.get('a')?.watchers === 0);
  });

  it('of an answer are cut off if they do not read it, and not before', async (t) => {
    const { clock, server } = await askForLargeEntry(t, 'messages?before=3');
    await until('it is being answered', () => server.bytesWritten > LARGE_CHARS);
    assert.ok(server.writableLength > 0, 'the client has not read it');
    clock.advance(ANSWER_MAX_MS - 1);
    assert.ok(!server.destroyed);
    clock.advance(1);
    assert.ok(server.destroyed);
  });

  it('that are gone before they are answered are not watched for', async (t) => {
    const host = await launch(t, { agents: [testAgent('general')], threads: 1 });
    await host.create({ sessionId: 'a', agentProfile: 'general' });
    const http = createServer(host);
    let requests = 0;
    http.addHook('onRequest', async () => void requests++);
    t.after(() => http.close());
    const { hostname, port } = new URL(await http.listen({ port: 0, host: '127.0.0.1' }));
    const clients = 300;
    for (let i = 0; i < clients; i++) {
      const socket = connect(Number(port), hostname);
      socket.on('error', () => undefined);
      socket.write('GET /api/sessions/a/events HTTP/1.1\r\nHost: x\r\n\r\n', () => socket.destroy());
    }
    await until('all have asked', () => requests === clients);
    // It is answered after what they asked of the store.
    assert.equal((await fetch(`http://${hostname}:${port}/api/sessions/a`)).status, 200);
    await until('nobody watches', () => host.registry.get('a')?.watchers === 0);
    const stream = host.subscribe('a');
    assert.equal(host.registry.get('a')?.watchers, 1);
    await stream.return();
  });

  it('that ask for its headers only are told at once that there are none', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['general'], '--threads', '1'));
    const id = await create(server, 'general');
    const head = (path: string) =>
      fetch(`${server.url}${path}`, { method: 'HEAD', signal: AbortSignal.timeout(60_000) });
    assert.equal((await head(`/api/sessions/${id}/events`)).status, 404);
    assert.equal((await head(`/api/sessions/${id}`)).status, 200);
  });
});
