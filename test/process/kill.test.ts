// kill -9 under load, again and again: what was acknowledged is there exactly once, and the state agrees with it.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Server } from '../support/server.js';
import { randomOf } from '../support/random.js';
import { tempDir } from '../support/temp.js';
import { accept, create, ended, flags, history, inParallel, readRun, run, type Entry } from './client.js';
import { until } from '../support/host.js';

const ROUNDS = 8;
const SESSIONS = 6;

interface Sent {
  sessionId: string;
  runId: string;
  by: number;
  /** The server has answered 202. */
  acknowledged: boolean;
}

const inputOf = ({ by, runId }: Sent) => ({ by, run: runId });

/** Sends until the server is gone. */
async function load(server: Server, sent: Sent[], next: () => Sent): Promise<void> {
  const sender = async (): Promise<void> => {
    for (;;) {
      const one = next();
      sent.push(one);
      const body = { input: inputOf(one), run_id: one.runId };
      try {
        const answer = await server.request('POST', `/api/sessions/${one.sessionId}/runs`, body);
        assert.ok(answer.status === 202 || answer.status === 429, `${answer.status} ${JSON.stringify(answer.body)}`);
        one.acknowledged = answer.status === 202;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        // The connection broke: whether the run was accepted is not known.
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, sender));
}

function assertWhole(entries: readonly Entry[]): void {
  entries.forEach((entry, i) => assert.equal(entry.seq, i + 1, 'seq has no gap and no duplicate'));
}

function timesIn(entries: readonly Entry[], runId: string): number {
  return entries.filter((entry) => entry.role === 'user' && (entry['content'] as { run?: string }).run === runId)
    .length;
}

/** The count that the history tells, whose entries must count up one by one. */
function countIn(entries: readonly Entry[]): number {
  const counts = entries.filter((entry) => entry.role === 'assistant').map((entry) => entry['n'] as number);
  counts.forEach((n, i) => assert.equal(n, i + 1, 'the counts of the history follow each other'));
  return counts.length;
}

describe('kill -9', () => {
  it(`loses nothing acknowledged in ${ROUNDS} rounds under load, and doubles nothing`, async (t) => {
    const random = randomOf(t);
    const data = tempDir(t);
    const start = (): Promise<Server> => Server.start(t, flags(data, ['counter'], '--threads', '2'));
    let server = await start();
    const ids = await inParallel(4, Array.from({ length: SESSIONS }), () => create(server, 'counter'));
    const sent: Sent[] = [];
    let made = 0;
    const next = (): Sent => ({
      sessionId: ids[Math.floor(random() * ids.length)]!,
      runId: `run-${made++}`,
      by: Math.floor(random() * 40),
      acknowledged: false,
    });
    for (let round = 0; round < ROUNDS; round++) {
      const before = sent.length;
      const loading = load(server, sent, next);
      await until('the load is on', async () => sent.length >= before + 20);
      await new Promise((resolve) => setTimeout(resolve, random() * 400));
      await server.kill();
      await loading;

      server = await start();
      // As soon as it is up: nothing that the crash cut off reads running for ever; what runs now is what was queued.
      const histories = new Map<string, Entry[]>();
      await inParallel(3, ids, async (id) => {
        const entries = await history(server, id);
        assertWhole(entries);
        histories.set(id, entries);
      });
      const recent = sent.slice(before);
      for (const one of recent) {
        const times = timesIn(histories.get(one.sessionId)!, one.runId);
        if (one.acknowledged) assert.equal(times, 1, `${one.runId} was answered 202`);
        else assert.ok(times <= 1, `${one.runId} is there ${times} times`);
      }
      // A client that does not know sends again under the same id; a client that knows may do so too.
      const again = recent.filter((one) => !one.acknowledged || random() < 0.1);
      await inParallel(8, again, async (one) => {
        await accept(server, one.sessionId, inputOf(one), one.runId);
        one.acknowledged = true;
      });
      if (round % 3 === 1) {
        // Everything ends, what was cut off reads so, and the state is what the history tells.
        await inParallel(8, recent, async ({ sessionId, runId }) => {
          const outcome = await ended(server, sessionId, runId);
          assert.ok(['completed', 'interrupted'].includes(outcome.state), JSON.stringify(outcome));
          if (outcome.state === 'interrupted') assert.equal(outcome.code, 'RUN_CUT_OFF');
        });
        for (const id of ids) {
          const { n } = await run<{ n: number }>(server, id, { by: 0 });
          assert.equal(n, countIn(await history(server, id)));
        }
      }
    }

    let completed = 0;
    await inParallel(8, sent, async ({ sessionId, runId }) => {
      const outcome = await ended(server, sessionId, runId);
      assert.ok(['completed', 'interrupted'].includes(outcome.state), JSON.stringify(outcome));
      if (outcome.state === 'completed') completed++;
    });
    t.diagnostic(`${sent.length} runs, ${completed} of them completed`);
    for (const id of ids) {
      const { n } = await run<{ n: number }>(server, id, { by: 0 });
      const entries = await history(server, id);
      assertWhole(entries);
      assert.equal(n, countIn(entries));
      const mine = sent.filter(({ sessionId }) => sessionId === id);
      for (const { runId } of mine) assert.equal(timesIn(entries, runId), 1, runId);
      // Each run has one outcome, and it comes after its input.
      const outcomes = entries.filter((entry) => entry.role === 'run').map((entry) => entry['run_id'] as string);
      assert.equal(new Set(outcomes).size, outcomes.length);
      for (const { runId } of mine) assert.ok(outcomes.includes(runId), runId);
      // A run that was not cut off did all of its work, once.
      const least = await doneAtLeast(server, mine);
      const most = mine.reduce((sum, { by }) => sum + by, 0);
      assert.ok(n >= least && n <= most, `${least} <= ${n} <= ${most}`);
    }
    const listed = (await server.request('GET', '/api/sessions')).body['sessions'] as { status: string }[];
    assert.deepEqual([...new Set(listed.map((row) => row.status))], ['idle']);
  });

  it('shows a run that was running as interrupted from the first moment of the next start', async (t) => {
    const data = tempDir(t);
    const args = flags(data, ['counter'], '--threads', '1');
    const first = await Server.start(t, args);
    const id = await create(first, 'counter');
    const runId = await accept(first, id, { by: 5, sleepMs: 600_000 });
    const queued = await accept(first, id, { by: 1 });
    await until('it sleeps', async () => (await history(first, id)).length === 7);
    await first.kill();
    const second = await Server.start(t, args);
    const outcome = await readRun(second, id, runId);
    assert.deepEqual([outcome.state, outcome.code], ['interrupted', 'RUN_CUT_OFF']);
    assert.ok(outcome.started_at !== null && outcome.ended_at !== null);
    assert.deepEqual((await ended(second, id, queued)).output, { n: 6 });
  });

  it('keeps every entry that an agent has told of after durable()', async (t) => {
    const random = randomOf(t);
    const dir = tempDir(t);
    const file = join(dir, 'told');
    const args = flags(join(dir, 'data'), ['process-durable'], '--threads', '2');
    const told = (): string[] => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []);
    let server = await Server.start(t, args);
    const ids = await inParallel(4, Array.from({ length: 8 }), () =>
      create(server, 'process-durable', { params: { file } }),
    );
    for (let round = 0; round < 3; round++) {
      const before = told().length;
      await inParallel(8, ids, (id) => accept(server, id, { entries: 1_000_000 }));
      await until('much was told', async () => told().length >= before + 100);
      await new Promise((resolve) => setTimeout(resolve, random() * 100));
      await server.kill();
      server = await Server.start(t, args);
      const lines = told();
      assert.ok(lines.length >= before + 100);
      for (const id of ids) {
        const entries = await history(server, id);
        assertWhole(entries);
        const written = entries.filter((entry) => entry.role === 'told').map((entry) => entry['i']);
        written.forEach((i, index) => assert.equal(i, index + 1));
        const last = lines.filter((line) => line.startsWith(`${id} `)).map((line) => Number(line.split(' ')[1]));
        assert.ok(
          last.every((i) => i <= written.length),
          `told of ${last.at(-1)}, there are ${written.length}`,
        );
        assert.deepEqual(await run(server, id, { entries: 0 }), { told: written.length });
      }
    }
  });
});

/** What the completed ones of these runs have counted together. */
async function doneAtLeast(server: Server, runs: readonly Sent[]): Promise<number> {
  const done = await inParallel(8, runs, async ({ sessionId, runId, by }) =>
    (await readRun(server, sessionId, runId)).state === 'completed' ? by : 0,
  );
  return done.reduce((sum, by) => sum + by, 0);
}
