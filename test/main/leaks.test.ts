// What a host leaves behind in a process that goes on: nothing.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { testAgent } from '../support/host.js';
import { tempDir } from '../support/temp.js';

const CLOSED_HOSTS = fileURLToPath(new URL('./closed-hosts.js', import.meta.url));

test('a closed host is garbage, and its threads with it', async (t) => {
  const options = { agents: [testAgent('crasher')], dataDir: tempDir(t), threads: 1, restoreSessions: 0 };
  const child = fork(CLOSED_HOSTS, [JSON.stringify(options)], { execArgv: [] });
  t.after(() => child.kill('SIGKILL'));
  const [left] = (await once(child, 'message')) as [number];
  assert.equal(left, 0);
});
