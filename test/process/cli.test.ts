// The command line: what a bad start says, and what flags, environment and folders of agents mean.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { testAgent, until } from '../support/host.js';
import { Server } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, flags, history, run, spin } from './client.js';

const AGENTS = testAgent('general');

/** A module of a plain agent that answers with its own name and its input. */
function plainAgent(profile: string): string {
  return `export default {
    profile: ${JSON.stringify(profile)},
    start: () => ({ runs: 0 }),
    run(ctx, input) {
      ctx.state.runs++;
      ctx.history.append({ role: 'assistant', content: input });
      return { by: ${JSON.stringify(profile)}, runs: ctx.state.runs, input };
    },
  };`;
}

function file(dir: string, path: string, text: string): string {
  const full = join(dir, path);
  mkdirSync(join(full, '..'), { recursive: true });
  writeFileSync(full, text);
  return full;
}

/** A port that somebody else listens on. */
async function takenPort(t: TestContext): Promise<number> {
  const other = createServer();
  t.after(() => other.close());
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  return port;
}

/** Expects exit 2 with one line on stderr and nothing on stdout. @returns the line */
async function refusal(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const server = new Server(['serve', ...args], env);
  t.after(() => server.kill());
  // One that starts after all does not end by itself.
  server.child.stdout!.once('data', () => server.child.kill());
  const { code, signal } = await server.exited;
  assert.deepEqual({ code, signal }, { code: 2, signal: null }, server.stderr);
  assert.equal(server.stdout, '');
  const lines = server.stderr.split('\n');
  assert.equal(lines.length, 2, `one line: ${server.stderr}`);
  assert.equal(lines[1], '');
  assert.match(lines[0]!, /^cabana: \S/);
  return lines[0]!;
}

async function hasProfile(server: Server, profile: string): Promise<boolean> {
  const answer = await server.request('POST', '/api/sessions', { agent_profile: profile });
  if (answer.status === 400) assert.equal(answer.body['code'], 'UNKNOWN_PROFILE');
  else assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.status === 201;
}

describe('a bad start is one clear line on stderr and exit code 2', () => {
  it('names a flag that does not exist', async (t) => {
    const data = join(tempDir(t), 'data');
    assert.match(await refusal(t, ['--agents', AGENTS, '--data', data, '--bogus']), /--bogus/);
    assert.ok(!existsSync(data));
  });

  it('names the mandatory flag that is missing', async (t) => {
    const none = { CABANA_AGENTS: undefined, CABANA_DATA: undefined };
    assert.match(await refusal(t, ['--data', join(tempDir(t), 'data')], none), /--agents/);
    assert.match(await refusal(t, ['--agents', AGENTS], none), /--data/);
    assert.match(await refusal(t, ['--agents'], none), /--agents/);
  });

  it('names the flag whose value is no number, or out of range', async (t) => {
    const data = join(tempDir(t), 'data');
    const start = ['--agents', AGENTS, '--data', data];
    const bad: [string[], RegExp][] = [
      [['--port', 'abc'], /--port .*abc/],
      [['--port', '-1'], /--port/],
      [['--port', '70000'], /port/],
      [['--threads', '0'], /threads.* 1 to/],
      [['--threads', '1e3'], /--threads .*1e3/],
      [['--drain-ms', '1.5'], /--drain-ms .*1\.5/],
      [['--max-running', '0'], /[mM]ax-?[rR]unning/],
      [['--thread-heap-mb', '1'], /[hH]eap/],
      [['--log-level', 'loud'], /--log-level .*loud/],
    ];
    for (const [args, expected] of bad) assert.match(await refusal(t, [...start, ...args]), expected);
  });

  it('names the environment variable whose value is bad', async (t) => {
    const start = ['--agents', AGENTS, '--data', join(tempDir(t), 'data')];
    assert.match(await refusal(t, start, { CABANA_PORT: 'x' }), /CABANA_PORT|--port/);
    assert.match(await refusal(t, start, { CABANA_LOG_LEVEL: 'loud' }), /CABANA_LOG_LEVEL|--log-level/);
  });

  it('names the flag or the variable that is empty, and does not listen on every address instead', async (t) => {
    const [agents, data] = [
      ['--agents', AGENTS],
      ['--data', join(tempDir(t), 'data')],
    ];
    const start = [...agents, ...data, '--port', '0'];
    for (const flag of ['--host', '--data', '--agents', '--port', '--threads', '--log-level']) {
      assert.match(await refusal(t, [...start, `${flag}=`]), new RegExp(flag.slice(2)));
    }
    assert.match(await refusal(t, start, { CABANA_HOST: '' }), /CABANA_HOST/);
    assert.match(await refusal(t, data, { CABANA_AGENTS: '' }), /agents/);
    assert.match(await refusal(t, agents, { CABANA_DATA: '' }), /CABANA_DATA/);
  });

  it('names an agents folder that is not there or holds no agents, and makes no data folder', async (t) => {
    const dir = tempDir(t);
    const data = join(dir, 'data');
    const missing = join(dir, 'missing');
    const line = await refusal(t, ['--agents', missing, '--data', data]);
    assert.ok(line.includes(missing), line);
    const empty = join(dir, 'empty');
    file(empty, 'notes.txt', 'nothing');
    file(empty, 'deeper/still/agent.mjs', plainAgent('deep'));
    const second = await refusal(t, ['--agents', empty, '--data', data]);
    assert.ok(second.includes(empty), second);
    // One bad folder among good ones is no better.
    assert.ok((await refusal(t, ['--agents', AGENTS, '--agents', missing, '--data', data])).includes(missing));
    assert.ok(!existsSync(data));
  });

  it('names the module without a valid definition, and says what is wrong with it', async (t) => {
    const dir = tempDir(t);
    const bad: [string, RegExp][] = [
      ['export const nothing = 1;', /default export/],
      ['export default 7;', /default export/],
      ['export default { run() {} };', /profile/],
      ["export default { profile: '', run() {} };", /profile/],
      ["export default { profile: 'a' };", /run/],
      ["export default { profile: 'a', run() {}, restore: 1 };", /restore/],
      ["export default { profile: 'a', run() {}, load: 'gpu' };", /load/],
      ["export default { profile: 'a', run() {}, saveWhen: 'never' };", /saveWhen/],
      ['export default {', /SyntaxError|Unexpected|cannot load/],
      ["import 'not-a-package-of-anybody';", /not-a-package-of-anybody/],
    ];
    for (const [index, [text, expected]] of bad.entries()) {
      const path = file(dir, `bad-${index}.mjs`, text);
      const line = await refusal(t, ['--agents', path, '--data', join(dir, 'data'), '--port', '0']);
      assert.match(line, expected);
      assert.ok(line.includes(path), line);
    }
  });

  it('names the module that throws when it is loaded, whatever it throws', async (t) => {
    const dir = tempDir(t);
    const thrown = ["new Error('no key in the vault\\nsecond line')", "'no key in the vault'"];
    for (const [index, value] of thrown.entries()) {
      const path = file(dir, `throws-${index}.mjs`, `throw ${value};`);
      const line = await refusal(t, ['--agents', path, '--data', join(dir, 'data'), '--port', '0']);
      assert.match(line, /no key in the vault/);
      assert.ok(line.includes(path), line);
    }
  });

  it('names the module that throws null when it is loaded', async (t) => {
    const dir = tempDir(t);
    const path = file(dir, 'throws-null.mjs', 'throw null;');
    const line = await refusal(t, ['--agents', path, '--data', join(dir, 'data'), '--port', '0']);
    assert.ok(line.includes(path), line);
  });

  it('ends soon after a signal although the start hangs, and says so', async (t) => {
    const dir = tempDir(t);
    const begun = join(dir, 'begun');
    const hanging = file(
      dir,
      'hanging.mjs',
      `import { writeFileSync } from 'node:fs';
       writeFileSync(${JSON.stringify(begun)}, '');
       setInterval(() => undefined, 1_000);
       await new Promise(() => undefined);
       ${plainAgent('hanging')}`,
    );
    const server = new Server(['serve', '--agents', hanging, '--data', join(dir, 'data'), '--port', '0']);
    t.after(() => server.kill());
    await until('it loads the agent', async () => existsSync(begun));
    server.child.kill('SIGTERM');
    assert.equal((await server.exited).code, 143);
    assert.match(server.stderr, /^cabana: SIGTERM before it had started\n$/);
  });

  it('begins no run of an earlier process, if a signal comes before it has started', async (t) => {
    const dir = tempDir(t);
    const [data, begun, goOn] = [join(dir, 'data'), join(dir, 'begun'), join(dir, 'go-on')];
    const first = await Server.start(t, flags(data, ['counter'], '--threads', '1'));
    const [busy, waits] = [await create(first, 'counter'), await create(first, 'counter')];
    await spin(first, busy, 'never');
    const runId = await accept(first, waits, { entries: 1 });
    await first.kill();
    const slow = file(
      dir,
      'slow.mjs',
      `import { existsSync, writeFileSync } from 'node:fs';
       writeFileSync(${JSON.stringify(begun)}, '');
       while (!existsSync(${JSON.stringify(goOn)})) await new Promise((resolve) => setTimeout(resolve, 5));
       ${plainAgent('slow')}`,
    );
    const stopped = new Server([
      'serve',
      ...flags(data, ['counter']),
      '--agents',
      slow,
      '--port',
      '0',
      '--drain-ms',
      '0',
    ]);
    t.after(() => stopped.kill());
    await until('it loads the agent', async () => existsSync(begun));
    stopped.child.kill('SIGTERM');
    writeFileSync(goOn, '');
    assert.equal((await stopped.exited).code, 0, stopped.stderr);
    assert.equal(stopped.report['interrupted'], 0);
    const last = await Server.start(t, flags(data, ['counter']));
    assert.equal((await ended(last, waits, runId)).state, 'completed');
  });

  it('names both modules that have the same profile', async (t) => {
    const dir = tempDir(t);
    const one = file(dir, 'one.mjs', plainAgent('twin'));
    const two = file(dir, 'two.mjs', plainAgent('twin'));
    const line = await refusal(t, ['--agents', dir, '--data', join(dir, 'data'), '--port', '0']);
    assert.match(line, /twin/);
    assert.ok(line.includes(one) && line.includes(two), line);
  });

  it('leaves the data folder free and usable after the agents turned out to be bad', async (t) => {
    const dir = tempDir(t);
    const bad = file(dir, 'bad.mjs', 'export default 7;');
    const data = join(dir, 'data');
    await refusal(t, ['--agents', bad, '--data', data, '--port', '0']);
    const server = await Server.start(t, flags(data, ['general']));
    assert.equal((await server.request('GET', '/readyz')).status, 200);
  });

  it('names the data folder that another process holds, and leaves that process alone', async (t) => {
    const data = tempDir(t);
    const first = await Server.start(t, flags(data, ['general']));
    const line = await refusal(t, ['--agents', AGENTS, '--data', data, '--port', '0']);
    assert.ok(line.includes(data), line);
    assert.match(line, /another process/);
    const id = await create(first, 'general');
    assert.deepEqual(await run(first, id, 1), { echo: 1, runs: 1 });
    // However it ends, the folder is free again.
    await first.kill();
    await Server.start(t, flags(data, ['general']));
  });

  it('names a data folder that cannot be made', async (t) => {
    const path = file(tempDir(t), 'a-file', '');
    const line = await refusal(t, ['--agents', AGENTS, '--data', join(path, 'data'), '--port', '0']);
    assert.ok(line.includes(join(path, 'data')), line);
  });

  it('names the port that is in use, and lets go of the data folder', async (t) => {
    const port = await takenPort(t);
    const data = tempDir(t);
    const line = await refusal(t, ['--agents', AGENTS, '--data', data, '--port', String(port)]);
    assert.match(line, /EADDRINUSE|in use/);
    assert.ok(line.includes(String(port)), line);
    await Server.start(t, flags(data, ['general']));
  });

  it('begins no run of an earlier process, if it fails for its port', async (t) => {
    const port = await takenPort(t);
    const data = tempDir(t);
    const first = await Server.start(t, flags(data, ['counter'], '--threads', '1'));
    const [busy, waits] = [await create(first, 'counter'), await create(first, 'counter')];
    await spin(first, busy, 'never');
    const runId = await accept(first, waits, { entries: 1 });
    await first.kill();
    const taken = ['--port', String(port), '--drain-ms', '0', '--log-level', 'error'];
    await refusal(t, ['--agents', testAgent('counter'), '--data', data, ...taken]);
    const second = await Server.start(t, flags(data, ['counter']));
    assert.equal((await ended(second, waits, runId)).state, 'completed');
  });
});

describe('flags and environment', () => {
  it('takes everything from CABANA_ variables, and says on one line of stdout where it listens', async (t) => {
    const env = {
      CABANA_AGENTS: `${testAgent('general')}:${testAgent('counter')}`,
      CABANA_DATA: join(tempDir(t), 'made', 'on', 'the', 'way'),
      CABANA_PORT: '0',
      CABANA_HOST: '127.0.0.1',
      CABANA_THREADS: '1',
      CABANA_MAX_RUNNING: '3',
      CABANA_MAX_IDLE: '10',
      CABANA_DRAIN_MS: '100',
      CABANA_FLUSH_DEADLINE_MS: '10000',
      CABANA_THREAD_HEAP_MB: '256',
      CABANA_LOG_LEVEL: 'silent',
    };
    const server = await Server.serve(t, [], env);
    assert.match(server.stdout, /^cabana ready on http:\/\/127\.0\.0\.1:[1-9]\d*\n$/);
    assert.ok(await hasProfile(server, 'general'));
    assert.ok(await hasProfile(server, 'counter'));
    assert.ok(existsSync(join(env.CABANA_DATA, 'cabana.db')));
    assert.equal(await server.stop(), 0);
  });

  it('lets a flag win over its variable', async (t) => {
    const data = join(tempDir(t), 'flag');
    const env = {
      CABANA_AGENTS: testAgent('counter'),
      CABANA_DATA: join(tempDir(t), 'variable'),
      CABANA_PORT: 'not looked at',
    };
    const server = await Server.serve(t, [...flags(data, ['general']), '--port', '0'], env);
    assert.ok(await hasProfile(server, 'general'));
    assert.ok(!(await hasProfile(server, 'counter')), 'only the agents of the flag');
    assert.ok(existsSync(data));
    assert.ok(!existsSync(env.CABANA_DATA));
  });

  it('gives each server with --port 0 a port of its own', async (t) => {
    const [one, two] = await Promise.all([
      Server.start(t, flags(tempDir(t), ['general'], '--threads', '1')),
      Server.start(t, flags(tempDir(t), ['general'], '--threads', '1')),
    ]);
    assert.notEqual(one.url, two.url);
    for (const server of [one, two]) assert.equal((await server.request('GET', '/healthz')).status, 200);
  });

  it('takes --agents again and again, a module named twice counting once', async (t) => {
    const server = await Server.start(t, flags(tempDir(t), ['general', 'counter', 'general'], '--threads', '1'));
    assert.ok(await hasProfile(server, 'general'));
    assert.ok(await hasProfile(server, 'counter'));
  });
});

describe('a folder of agents', () => {
  it('gives the modules directly in it and agent.js or agent.mjs one folder below, nothing else', async (t) => {
    const dir = join(tempDir(t), 'odd #1 100% folder');
    file(dir, 'package.json', '{"type":"module"}');
    file(dir, 'direct.js', plainAgent('direct-js'));
    file(dir, 'direct.mjs', plainAgent('direct-mjs'));
    file(dir, 'below-js/agent.js', plainAgent('below-js'));
    file(dir, 'below-mjs/agent.mjs', plainAgent('below-mjs'));
    file(dir, 'below-js/helper.js', 'throw new Error("not an agent");');
    file(dir, 'below-js/deeper/agent.js', plainAgent('deeper'));
    file(dir, 'notes.md', '# notes');
    file(dir, 'types.ts', 'throw new Error("not an agent");');
    file(dir, 'empty/readme.txt', '');
    const server = await Server.start(t, ['--agents', dir, '--data', join(dir, 'data'), '--threads', '1']);
    for (const profile of ['direct-js', 'direct-mjs', 'below-js', 'below-mjs']) {
      assert.ok(await hasProfile(server, profile), profile);
    }
    assert.ok(!(await hasProfile(server, 'deeper')));
  });

  it('runs a plain .mjs agent outside any project, imports nothing, and keeps it over a restart', async (t) => {
    const dir = tempDir(t);
    file(dir, 'agents/plain.mjs', plainAgent('plain'));
    const args = ['--agents', join(dir, 'agents'), '--data', join(dir, 'data'), '--threads', '1'];
    const first = await Server.start(t, args);
    const id = await create(first, 'plain');
    assert.deepEqual(await run(first, id, { hello: 'world' }), { by: 'plain', runs: 1, input: { hello: 'world' } });
    assert.equal(await first.stop(), 0);
    const second = await Server.start(t, args);
    assert.deepEqual(await run(second, id, 2), { by: 'plain', runs: 2, input: 2 });
    assert.deepEqual(
      (await history(second, id)).map((entry) => entry.role),
      ['user', 'assistant', 'run', 'user', 'assistant', 'run'],
    );
  });
});
