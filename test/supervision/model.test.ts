// Random interleavings of everything that can happen to a few sessions on two threads, against what must be true of
// each whatever the order. SEED=... repeats a run.

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { CabanaError, type Host, type HostOptions, type RunInfo } from '../../src/main/index.js';
import type { Act, ActAnswer } from '../agents/supervision-act.js';
import type { SleepyClock } from '../main/launch.js';
import { houseWithClock } from './house.js';
import { seedOf, seeded } from '../support/random.js';

const SEQUENCES = 25;
/** With runs that do not mind their interrupts, which takes longer. */
const DEAF_SEQUENCES = 10;
const DEAF_GRACE_MS = 200;
/** A deaf run goes on for as long at most: some end before their grace is used up. */
const DEAF_RUN_MS = 350;
const OPERATIONS = 40;
const SETTLED_MAX_MS = 60_000;
const KINDS = ['cpu', 'cpu', 'flush', 'io', 'retry', 'cpu'];
/** A run sent to a session that is not deleted ends with one of these, or with null. */
const CODES = new Set([
  'RUN_INTERRUPTED',
  'SESSION_QUARANTINED',
  'AGENT_CRASHED',
  'AGENT_UNRESPONSIVE',
  'THREAD_DIED',
  'SESSION_DELETED',
]);
const REFUSALS = new Set(['SESSION_NOT_FOUND', 'SESSION_QUARANTINED']);

interface Sent {
  runId: string;
  crashes: boolean;
  /** How it ended; null: it was refused. */
  end: Promise<RunInfo | null>;
  isOver: boolean;
}

interface Model {
  id: string;
  sent: Sent[];
  epoch: number;
  /** Resolves to whether it was there. */
  deleted: Promise<boolean> | null;
}

class Sequence {
  readonly #host: Host;
  readonly #clock: SleepyClock;
  readonly #random: () => number;
  readonly #models: Model[] = [];
  readonly #tasks: Promise<unknown>[] = [];
  readonly #failures: unknown[] = [];
  /** How often a run is deaf. */
  readonly #deafness: number;
  readonly trace: string[] = [];

  constructor(host: Host, clock: SleepyClock, random: () => number, deafness: number) {
    this.#host = host;
    this.#clock = clock;
    this.#random = random;
    this.#deafness = deafness;
  }

  async create(no: number): Promise<void> {
    for (const [i, kind] of KINDS.entries()) {
      const sessionId = `${no}-${i}-${kind}`;
      await this.#host.create({ sessionId, agentProfile: `supervision-${kind}` });
      this.#models.push({ id: sessionId, sent: [], epoch: 0, deleted: null });
    }
  }

  async step(): Promise<void> {
    const model = this.#models[Math.floor(this.#random() * this.#models.length)]!;
    const dice = this.#random();
    if (dice < this.#deafness) this.#goDeaf(model);
    else if (dice < 0.5) this.#send(model, this.#act());
    else if (dice < 0.64) this.#evict();
    else if (dice < 0.72) this.#ensure(model);
    else if (dice < 0.8) this.#interrupt(model);
    else if (dice < 0.83) this.#delete(model);
    else if (dice < 0.85) this.#crash(model);
    else if (dice < 0.88) this.#migrate();
    else await this.#wait(model);
    this.#look();
  }

  #act(): Act {
    const how = (['spin', 'slices', 'wait'] as const)[Math.floor(this.#random() * 3)]!;
    const count = Math.floor(this.#random() * 3);
    return this.#random() < 0.5 ? { count } : { count, how, ms: this.#random() * 4, after: true };
  }

  /** Looked at when the sequence ends. */
  #later(task: Promise<unknown>): void {
    this.#tasks.push(task.catch((error: unknown) => this.#failures.push(error)));
  }

  #note(what: string): void {
    this.trace.push(what);
  }

  #send(model: Model, act: Act): void {
    const run = this.#host.send(model.id, act);
    this.#note(`send ${model.id} ${run.runId} ${JSON.stringify(act)}`);
    const end = run.result.catch((error: unknown) => {
      assert.ok(error instanceof CabanaError && REFUSALS.has(error.code), String(error));
      return null;
    });
    const sent: Sent = { runId: run.runId, crashes: act.crash !== undefined, end, isOver: false };
    model.sent.push(sent);
    this.#later(end.then(() => (sent.isOver = true)));
  }

  /** Two of a thread's cpu sessions at once: one of them has to leave it. */
  #migrate(): void {
    const on = this.#models.filter(({ id }) => !id.includes('io') && this.#host.registry.get(id)?.thread === 0);
    this.#note('migrate');
    for (const model of on.slice(0, 2)) this.#send(model, { count: 1, how: 'spin', ms: 6 });
  }

  #evict(): void {
    this.#note('evict');
    this.#later(this.#host.registry.evictExcessIdle().then((left) => assert.equal(new Set(left).size, left.length)));
  }

  #ensure(model: Model): void {
    this.#note(`ensure ${model.id}`);
    // Its thread may die under it: then the call may be repeated.
    const ensure = () =>
      this.#host.registry.ensure(model.id).catch((error: unknown) => {
        assert.equal((error as CabanaError).code, 'THREAD_DIED');
      });
    this.#later(ensure());
    const gone = model.deleted?.then(ensure);
    if (gone) this.#later(gone.then((live) => assert.notEqual(live, true, `${model.id} came back`)));
  }

  #interrupt(model: Model): void {
    const waiting = model.sent.at(-1)?.runId;
    const runId = this.#random() < 0.4 ? waiting : undefined;
    this.#note(`interrupt ${model.id} ${runId ?? ''}`);
    this.#host.interrupt(model.id, runId);
  }

  #delete(model: Model): void {
    if (model.deleted) return;
    this.#note(`delete ${model.id}`);
    model.deleted = this.#host.registry.delete(model.id);
    this.#later(model.deleted.then((was) => assert.equal(was, true)));
  }

  #crash(model: Model): void {
    // The strikes are forgotten by then, and the threads lived long: neither a quarantine nor a wait.
    this.#clock.sleep(11 * 60_000);
    this.#send(model, { count: 1, crash: 'exit' });
  }

  #goDeaf(model: Model): void {
    this.#clock.sleep(11 * 60_000);
    this.#send(model, { count: 1, how: 'spin', deaf: true, ms: this.#random() * DEAF_RUN_MS, after: true });
    const { runId } = model.sent.at(-1)!;
    // Most have begun by then.
    const told = pause(this.#random() * 100).then(() => {
      this.#note(`interrupt the deaf ${runId}`);
      this.#host.interrupt(model.id, runId);
    });
    this.#later(told);
  }

  async #wait(model: Model): Promise<void> {
    this.#note(`wait ${model.id}`);
    if (this.#random() < 0.5) await new Promise((resolve) => setImmediate(resolve));
    else await this.#settled(Promise.resolve(model.sent.at(-1)?.end));
  }

  /** Everything is over soon; what is not never will be. */
  async #settled(work: Promise<unknown>): Promise<void> {
    const late = new AbortController();
    const deadline = pause(SETTLED_MAX_MS, undefined, { signal: late.signal }).then(() => {
      const entries = this.#models.map(({ id }) => this.#host.registry.get(id));
      const open = this.#models.flatMap(({ sent }) => sent.filter(({ isOver }) => !isOver).map(({ runId }) => runId));
      const what = { open, threads: this.#host.threads(), entries };
      throw new Error(`something never ends: ${JSON.stringify(what, null, 1)}`);
    });
    await Promise.race([work, deadline]).finally(() => late.abort());
    await deadline.catch(() => undefined);
  }

  /** Epochs never fall. (While it is being restored the next one is not known yet.) */
  #look(): void {
    for (const model of this.#models) {
      const entry = this.#host.registry.get(model.id);
      if (typeof entry?.epoch !== 'number' || entry.state === 'restoring') continue;
      assert.ok(entry.epoch >= model.epoch, `the epoch of ${model.id} fell from ${model.epoch} to ${entry.epoch}`);
      model.epoch = entry.epoch;
    }
  }

  async finish(): Promise<void> {
    await this.#settled(Promise.all(this.#models.flatMap(({ sent }) => sent.map(({ end }) => end))));
    await this.#settled(Promise.all(this.#tasks));
    if (this.#failures.length > 0) throw this.#failures[0];
    this.#look();
    const { rows } = await this.#host.registry.list({ limit: 1_000 });
    const listed = new Set(rows.map((row) => row.id));
    for (const model of this.#models) {
      assert.equal(listed.has(model.id), model.deleted === null, `${model.id} in the list`);
      if (model.deleted) await this.#checkDeleted(model);
      else await this.#checkHistory(model);
      if (!model.deleted) await this.#host.registry.delete(model.id);
    }
  }

  async #checkDeleted({ id }: Model): Promise<void> {
    const { registry } = this.#host;
    assert.deepEqual(
      [await registry.ensure(id), registry.exists(id), await registry.snapshot(id)],
      [false, false, undefined],
    );
    await assert.rejects(this.#host.send(id, {}).accepted, { code: 'SESSION_NOT_FOUND' });
    assert.equal(await this.#host.messages(id), undefined);
  }

  /** Contiguous numbers; every run ended once, in order; every answer agrees with what was in the history by then. */
  async #checkHistory({ id, sent }: Model): Promise<void> {
    const page = await this.#host.messages(id, { limit: 1_000 });
    assert.equal(page!.hasMore, false);
    const ends = new Map<string, { counted: number; state: unknown }>();
    const completed: string[] = [];
    let counted = 0;
    for (const [i, entry] of page!.messages.entries()) {
      assert.equal(entry['seq'], i + 1, `numbers of ${id}`);
      if (entry['role'] === 'assistant') assert.equal(entry['n'], ++counted, `counts of ${id}`);
      if (entry['role'] !== 'run') continue;
      const runId = String(entry['run_id']);
      assert.equal(ends.has(runId), false, `run ${runId} of ${id} ended twice`);
      ends.set(runId, { counted, state: entry['state'] });
      if (entry['state'] === 'completed') completed.push(runId);
    }
    const order = sent.map(({ runId }) => runId).filter((runId) => ends.get(runId)?.state === 'completed');
    assert.deepEqual(completed, order, `order of ${id}`);
    for (const { runId, end, crashes } of sent) {
      const info = await end;
      if (!info) continue;
      const told = ends.get(runId);
      assert.equal(told?.state, info.state, `the end of run ${runId} of ${id}`);
      assert.deepEqual(await this.#host.run(id, runId), info);
      if (info.state === 'completed') assert.equal((info.output as ActAnswer).n, told.counted, `the state of ${id}`);
      else assert.ok(CODES.has(info.code!), `${info.state} ${info.code} ${info.error}`);
      assert.ok(!crashes || info.state !== 'completed');
    }
  }
}

async function explore(
  t: TestContext,
  options: Partial<HostOptions>,
  deafness: number,
  sequences: number,
): Promise<void> {
  const seed = seedOf(t);
  const { host, clock } = await houseWithClock(t, { threads: 2, maxIdleAgents: 1, ...options });
  // Threads are replaced after waits of this clock.
  const moving = setInterval(() => clock.advance(10), 5);
  t.after(() => clearInterval(moving));
  for (let no = 0; no < sequences; no++) {
    const sequence = new Sequence(host, clock, seeded(seed + no), deafness);
    try {
      await sequence.create(no);
      for (let i = 0; i < OPERATIONS; i++) await sequence.step();
      await sequence.finish();
    } catch (error) {
      t.diagnostic(`SEED=${seed + no} fails in its first sequence:\n${sequence.trace.join('\n')}`);
      throw error;
    }
  }
}

describe('whatever happens in whatever order', () => {
  it('no run, entry or state is lost, doubled or brought back', async (t) => {
    await explore(t, {}, 0, SEQUENCES);
  });

  it('nor while runs ignore their interrupts, and threads stand in for others', async (t) => {
    await explore(t, { interruptGraceMs: DEAF_GRACE_MS }, 0.05, DEAF_SEQUENCES);
  });
});
