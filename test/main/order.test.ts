// Subscribers see the entries of a session in the order of its history, whoever appended them.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/host.js';
import { tempDir } from '../support/temp.js';
import { launch } from './launch.js';

const RUNS = 60;
const ENTRIES = 40;

const AGENT = `
  export default {
    profile: 'writer',
    load: 'io',
    async run(ctx, count) {
      for (let i = 0; i < count; i++) {
        ctx.history.append({ role: 'note', i });
        if (i % 4 === 0) await ctx.history.durable();
      }
    },
  };`;

test('inputs that come in while a run appends are told in the order of the history', async (t) => {
  const agent = join(tempDir(t), 'agent.mjs');
  writeFileSync(agent, AGENT);
  const host = await launch(t, { agents: [agent] });
  await host.create({ sessionId: 'a', agentProfile: 'writer' });
  const stream = host.subscribe('a');
  const seqs: number[] = [];
  const last = RUNS * (ENTRIES + 2);
  const read = (async () => {
    for await (const event of stream) {
      if (event.type === 'entry') seqs.push(event.seq);
      if (seqs.length === last) return;
    }
  })();
  // A few at a time, so that inputs meet entries in the same commits.
  const lane = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) await host.send('a', ENTRIES).result;
  };
  await Promise.all(Array.from({ length: 6 }, () => lane(RUNS / 6)));
  await read;
  assert.deepEqual(
    seqs,
    Array.from({ length: last }, (_, i) => i + 1),
  );
});

test('the outcome is told as an entry before the end of its run is told, also of a run that never began', async (t) => {
  const host = await launch(t, { threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'counter' });
  const stream = host.subscribe('a');
  const runs = Array.from({ length: 40 }, () => host.send('a', { spin: 'check' }));
  await Promise.all(runs.map(({ accepted }) => accepted));
  for (const { runId } of [...runs].reverse()) host.interrupt('a', runId);
  const journaled = new Set<unknown>();
  let ended = 0;
  for await (const event of stream) {
    if (event.type === 'entry' && event.entry.role === 'run') journaled.add(event.entry['run_id']);
    if (event.type !== 'run' || event.run.endedAt === null) continue;
    assert.ok(journaled.has(event.run.id), 'its outcome came before');
    if (++ended === runs.length) break;
  }
});

test('what a run says that was abandoned is not told after its end', async (t) => {
  const dir = tempDir(t);
  const agent = join(dir, 'agent.mjs');
  const gate = join(dir, 'gate');
  writeFileSync(
    agent,
    `import { existsSync } from 'node:fs';
     import { setTimeout as pause } from 'node:timers/promises';
     export default {
       profile: 'deaf',
       load: 'io',
       async run(ctx, gate) {
         ctx.emit('begun');
         while (gate && !existsSync(gate)) await pause(3);
         ctx.emit('awake');
       },
     };`,
  );
  const host = await launch(t, { agents: [agent], threads: 1, interruptGraceMs: 0 });
  await host.create({ sessionId: 'a', agentProfile: 'deaf' });
  const stream = host.subscribe('a');
  const run = host.send('a', gate);
  const told: unknown[] = [];
  for await (const event of { [Symbol.asyncIterator]: () => ({ next: () => stream.next() }) }) {
    if (event.type === 'event') told.push([event.runId, event.data]);
    if (event.type === 'event') host.interrupt('a');
    if (event.type === 'run' && event.run.state === 'interrupted') break;
  }
  assert.equal((await run.result).code, 'AGENT_UNRESPONSIVE');
  const ran = host.threads()[0]!.runs;
  writeFileSync(gate, '');
  await until('it has woken, and ended', () => host.threads()[0]!.runs > ran);
  // On the same thread: its events are behind what the abandoned run has said.
  const next = host.send('a', null);
  await next.result;
  stream.close();
  for await (const event of stream) if (event.type === 'event') told.push([event.runId, event.data]);
  assert.deepEqual(told, [
    [run.runId, 'begun'],
    [next.runId, 'begun'],
    [next.runId, 'awake'],
  ]);
});
