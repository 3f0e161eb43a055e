// What agents log, as it is found on the host's stderr.

import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { LoggedFields } from '../agents/logger.js';
import { until } from '../support/host.js';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { create, flags, run } from './client.js';

type Line = Record<string, unknown>;

const PINO_WARN = 40;

function lines(server: Server): Line[] {
  return server.stderr
    .split('\n')
    .slice(0, -1)
    .map((text) => JSON.parse(text) as Line);
}

describe('the log lines of agents', () => {
  it('show errors, keep what is the host’s, and never fail a run', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['logger'], '--threads', '1', '--log-level', 'warn'));
    const id = await create(server, 'logger');
    const logged = async (fields: LoggedFields): Promise<Line> => {
      assert.equal(await run(server, id, fields), fields);
      const find = (): Line[] => lines(server).filter((line) => line['msg'] === `with ${fields}`);
      await until(`the line with ${fields}`, () => find().length > 0);
      const [line, ...more] = find();
      assert.equal(more.length, 0);
      assert.deepEqual([line!['level'], line!['sessionId']], [PINO_WARN, id], fields);
      assert.equal(line!['pid'], server.child.pid);
      return line!;
    };
    const { failure, err, beside } = (await logged('error')) as { failure: Line; err: Line; beside: [{ inner: Line }] };
    assert.deepEqual([failure['name'], failure['message']], ['TypeError', 'it broke']);
    assert.match(failure['stack'] as string, /it broke[^]*logger/);
    assert.equal((failure['cause'] as Line)['message'], 'why');
    // As the host's own errors are shown, in one with their causes.
    assert.match(err['message'] as string, /^it broke/);
    assert.match(err['stack'] as string, /it broke[^]*logger/);
    assert.equal(beside[0].inner['message'], 'deep');
    const { err: bare } = (await logged('bare')) as { err: Line };
    assert.equal(bare['message'], 'in their place');
    assert.match(bare['stack'] as string, /in their place[^]*logger/);
    const own = await logged('own');
    assert.equal(own['mine'], 'kept');
    assert.deepEqual(
      ['level_', 'time_', 'pid_', 'msg_', 'sessionId_'].map((name) => own[name]),
      [99, 1, 1, 'forged', 'forged'],
    );
    await logged('callback');
    assert.match(JSON.stringify(await logged('text')), /no fields/);
    assert.ok('unloggable' in (await logged('hostile')));
    assert.equal(lines(server).length, 6, 'a key of the host stands once in a line, and there is no other line');
    for (const text of server.stderr.trimEnd().split('\n')) {
      for (const name of ['level', 'time', 'pid', 'msg', 'sessionId']) {
        assert.equal(text.split(`"${name}":`).length - 1, 1, text);
      }
    }
  });
});

describe('output that cannot be written is lost, and costs nothing else', () => {
  /** The agent logs and prints, again and again, and its server ends as it should. */
  async function goesOn(server: Server): Promise<void> {
    const id = await create(server, 'logger');
    for (let i = 0; i < 5; i++) assert.equal(await run(server, id, 'aloud'), 'aloud');
    assert.equal(await server.stop(), 0);
  }

  it('when whoever read stdout and stderr has gone', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['logger'], '--threads', '1'));
    server.child.stdout!.destroy();
    server.child.stderr!.destroy();
    await goesOn(server);
  });

  it('when the disk of the log is full', { skip: process.platform !== 'linux' }, async (t) => {
    const full = openSync('/dev/full', 'w');
    t.after(() => closeSync(full));
    const args = ['--port', '0', ...flags(tempDir(t), ['logger'], '--threads', '1')];
    await goesOn(await Server.serve(t, args, {}, full));
  });
});
