// Spare threads: what agent modules do while they are loaded there harms nobody.

import assert from 'node:assert/strict';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Host, HostOptions } from '../../src/main/index.js';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch } from './launch.js';

interface Trouble {
  agents: string[];
  /** From now on, threads that load the agent run into it. */
  begin(): void;
  end(): void;
  /** So many have. */
  met(): number;
  /** So many threads have loaded it. */
  loaded(): number;
}

/** An agent whose module does this when it is loaded while there is trouble. */
function troubled(t: TestContext, code: string): Trouble {
  const dir = tempDir(t);
  const [trouble, module] = [join(dir, 'trouble'), join(dir, 'agent.mjs')];
  writeFileSync(
    module,
    `import { appendFileSync, existsSync } from 'node:fs';
     if (existsSync(${JSON.stringify(trouble)})) {
       appendFileSync(${JSON.stringify(join(dir, 'met'))}, '.');
       ${code}
     }
     export default {
       profile: 'troubled',
       start: () => 0,
       run(ctx, input) {
         if (input === 'exit') process.exit(7);
         return ++ctx.state;
       },
     };
     appendFileSync(${JSON.stringify(join(dir, 'loaded'))}, '.');`,
  );
  const sizeOf = (name: string) => (): number => statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0;
  return {
    agents: [module],
    begin: () => writeFileSync(trouble, ''),
    end: () => rmSync(trouble),
    met: sizeOf('met'),
    loaded: sizeOf('loaded'),
  };
}

// That threads die is an error to an operator; here it is meant.
const quiet: Partial<HostOptions> = { threads: 1, logLevel: 'silent' };

async function dies(host: Host, sessionId: string): Promise<void> {
  await host.create({ sessionId, agentProfile: 'troubled' });
  assert.equal((await host.send(sessionId, 'exit').result).code, 'AGENT_CRASHED');
}

/** After the first death: the thread is back, and the spare for the second death is about to be ready. */
async function recovers(host: Host, trouble: Trouble): Promise<void> {
  await until('the thread is back', () => host.threads().every(({ state }) => state === 'idle'));
  await until('there is a spare', () => trouble.loaded() === 3);
  assert.equal((await host.send('a', 'count').result).output, 1);
}

describe('a spare thread', () => {
  it('is there before the first death, and takes the place of the thread that dies', async (t) => {
    const trouble = troubled(t, 'throw new Error("no other thread can start");');
    const host = await launch(t, { ...quiet, agents: trouble.agents });
    await until('there is a spare', () => trouble.loaded() === 2);
    trouble.begin();
    await dies(host, 'a');
    await until('the thread is back', () => host.threads().every(({ state }) => state === 'idle'));
    assert.equal((await host.send('a', 'count').result).output, 1);
    await until('the next spare is tried', () => trouble.met() === 1);
    assert.equal(trouble.loaded(), 2);
  });

  it('that is never prepared is not waited for when the host closes', async (t) => {
    const trouble = troubled(t, 'await new Promise((resolve) => setInterval(resolve, 2 ** 30));');
    const host = await launch(t, { ...quiet, agents: trouble.agents });
    await dies(host, 'a');
    await recovers(host, trouble);
    trouble.begin();
    await dies(host, 'b');
    await until('a thread loads for ever', () => trouble.met() > 0);
    assert.deepEqual((await host.close()).unflushed, []);
  });

  it('that dies while it waits is not used, and not made again and again', async (t) => {
    const trouble = troubled(t, `setTimeout(() => { throw new Error('a timer of the module'); }, 5);`);
    const host = await launch(t, { ...quiet, agents: trouble.agents });
    await dies(host, 'a');
    await recovers(host, trouble);
    trouble.begin();
    await dies(host, 'b');
    await until('a thread meets the trouble', () => trouble.met() > 0);
    trouble.end();
    assert.equal((await host.send('a', 'count').result).output, 2);
    await dies(host, 'c');
    assert.equal((await host.send('a', 'count').result).output, 3);
    assert.ok(trouble.met() < 10, `${trouble.met()} threads`);
  });
});
