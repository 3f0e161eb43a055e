// neighbours: how long agents that behave wait for their answers while others, beside them, misbehave in every way that
// there is; and whether anything of theirs is lost.

import { availableParallelism } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import type { Host, RunHandle, RunInfo } from '../../src/main/index.js';
import { WORK_ROUNDS, type Counted } from '../agents/counter.js';
import { MISDEEDS, type Misdeed } from '../agents/villain.js';
import { hashRounds } from '../agents/worker.js';
import { quantile, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, startHost } from '../support.js';

const THREADS = 2 * availableParallelism();
const GOOD_SESSIONS = 20;
/** Between the answer that a session got and its next input. */
const GOOD_PAUSE_MS = 30;
/** How long after their beginning those that do not end by themselves are asked to. They may ignore it for the default. */
const INTERRUPT_AFTER_MS = 50;
const HEAP_MB = 48;

/** Misdeeds, each by another session: one that repeats it would be quarantined. */
interface Mischief {
  /** How many begin at the same moment. */
  atOnce: number;
  everyMs: number;
}

interface Played {
  /** Milliseconds from each input of a good one to its outcome. */
  latencies: number[];
  /** Misdeeds that ended, each as it must. */
  misdeeds: number;
}

/** How each ends. A heap may be full before the grace is over, or not. */
const ENDINGS: Record<Misdeed, readonly string[]> = {
  spin: ['RUN_INTERRUPTED'],
  'spin deaf': ['AGENT_UNRESPONSIVE'],
  exit: ['AGENT_CRASHED'],
  throw: ['AGENT_CRASHED'],
  reject: ['AGENT_CRASHED'],
  hoard: ['AGENT_OUT_OF_MEMORY', 'AGENT_UNRESPONSIVE'],
};

export const neighbours: Bench = {
  name: 'neighbours',
  question: 'How long do agents that behave wait while others spin, crash and fill their heaps?',
  async run(b: BenchRun) {
    const scene = await Scene.of(b);
    const calmMs = b.size(2_000, 300);
    const busyMs = b.size(4_000, 600);
    const rounds = await b.alternate(
      'agents that count, beside misbehaving ones',
      // Once: a timer may be a little early.
      () => scene.play(busyMs, { atOnce: MISDEEDS.length, everyMs: busyMs + 10 }),
      () => scene.play(calmMs, null),
    );
    for (const { ours, theirs } of rounds) {
      b.check(ours.misdeeds === MISDEEDS.length, `${ours.misdeeds} of ${MISDEEDS.length} misbehaved`);
      b.check(theirs.misdeeds === 0, `${theirs.misdeeds} misbehaved where nobody was to`);
    }
    for (const [q, target] of [
      [0.5, null],
      [0.99, { of: 'ratio', is: 'at most', limit: 2 }],
    ] as const) {
      b.record(
        {
          metric: `answer to a run of an agent that behaves, p${q * 100}, over ${busyMs / 1_000} s that begin with ${MISDEEDS.length} misdeeds at once`,
          unit: 'ms',
          baseline: 'nobody misbehaves',
          ...(target ? { target } : {}),
        },
        rounds.map(({ ours, theirs }) => ({
          value: quantile(ours.latencies, q),
          baseline: quantile(theirs.latencies, q),
        })),
      );
    }
    await curve(b, scene);
    await scene.assertNothingLost();
  },
};

async function curve(b: BenchRun, scene: Scene): Promise<void> {
  const points: Record<'p50' | 'p99', { x: number; y: number }[]> = { p50: [], p99: [] };
  for (const perSecond of b.smoke ? [2] : [1, 2, 4, 8]) {
    b.progress(`${perSecond} misdeeds a second`);
    const { latencies, misdeeds } = await scene.play(b.size(2_000, 300), { atOnce: 1, everyMs: 1_000 / perSecond });
    b.check(misdeeds > 0, 'nobody misbehaved');
    points.p50.push({ x: perSecond, y: quantile(latencies, 0.5) });
    points.p99.push({ x: perSecond, y: quantile(latencies, 0.99) });
  }
  b.curve({
    metric: 'answer to a run of an agent that behaves',
    xUnit: 'misdeeds a second, each by another session',
    unit: 'ms',
    series: [
      { name: 'p99', points: points.p99 },
      { name: 'p50', points: points.p50 },
    ],
  });
}

/** A host with agents that count, and what they have been answered so far. */
class Scene {
  readonly #b: BenchRun;
  readonly #host: Host;
  readonly #counts = new Map<string, number>();
  /** What the good ones worked out, by the number of the run. */
  readonly #digests = new Map<number, string[]>();
  #villains = 0;
  /** Misdeeds that have ended. */
  #ended = 0;

  private constructor(b: BenchRun, host: Host) {
    this.#b = b;
    this.#host = host;
  }

  static async of(b: BenchRun): Promise<Scene> {
    const host = await startHost(b, {
      agents: [benchAgent('counter'), benchAgent('villain')],
      threads: THREADS,
      threadHeapMb: HEAP_MB,
      // That threads die is an error to an operator; here it is the point.
      logLevel: 'silent',
    });
    const scene = new Scene(b, host);
    for (let k = 0; k < GOOD_SESSIONS; k++) {
      scene.#counts.set(await host.create({ sessionId: `good-${k}`, agentProfile: 'counter' }), 0);
    }
    return scene;
  }

  /**
   * Lets the good ones work for so long, beside others or alone.
   */
  async play(ms: number, mischief: Mischief | null): Promise<Played> {
    const endsAt = performance.now() + ms;
    const before = this.#ended;
    const latencies: number[] = [];
    const good = [...this.#counts.keys()].map((id, k) => this.#work(id, k, endsAt, latencies));
    const villainy = mischief && this.#misbehave(endsAt, mischief);
    // All of it ends before the host is closed, whatever fails.
    for (const end of await Promise.allSettled([...good, villainy])) if (end.status === 'rejected') throw end.reason;
    return { latencies, misdeeds: this.#ended - before };
  }

  async #work(id: string, k: number, endsAt: number, latencies: number[]): Promise<void> {
    // Not all in step.
    await pause((k * GOOD_PAUSE_MS) / GOOD_SESSIONS);
    while (performance.now() < endsAt) {
      const sentAt = performance.now();
      const run = await this.#host.send(id, null).result;
      latencies.push(performance.now() - sentAt);
      this.#counted(id, run);
      await pause(GOOD_PAUSE_MS);
    }
  }

  #counted(id: string, run: RunInfo): void {
    const n = this.#counts.get(id)! + 1;
    this.#counts.set(id, n);
    const { state, code } = run;
    this.#b.check(state === 'completed', `a run of an agent that behaves ended ${state} (${code})`);
    const counted = run.output as Counted;
    this.#b.check(counted.n === n, `${id} counted ${JSON.stringify(run.output)}, after ${n} runs`);
    this.#digests.set(n, [...(this.#digests.get(n) ?? []), counted.digest]);
  }

  async #misbehave(endsAt: number, { atOnce, everyMs }: Mischief): Promise<void> {
    const ends: Promise<void>[] = [];
    while (performance.now() < endsAt) {
      for (let i = 0; i < atOnce; i++) ends.push(this.#begin());
      await pause(everyMs);
    }
    for (const end of await Promise.allSettled(ends)) if (end.status === 'rejected') throw end.reason;
  }

  /** A misdeed that is waited for later: until then it may fail. */
  #begin(): Promise<void> {
    const end = this.#misdeed();
    end.catch(() => undefined);
    return end;
  }

  async #misdeed(): Promise<void> {
    const k = this.#villains++;
    const misdeed = MISDEEDS[k % MISDEEDS.length]!;
    const id = await this.#host.create({ sessionId: `villain-${k}`, agentProfile: 'villain' });
    const run = this.#host.send(id, misdeed);
    if (!ENDINGS[misdeed].includes('AGENT_CRASHED')) {
      await begun(run);
      await pause(INTERRUPT_AFTER_MS);
      this.#host.interrupt(id);
    }
    const { code } = await run.result;
    this.#b.check(ENDINGS[misdeed].includes(code ?? ''), `"${misdeed}" ended with ${code}`);
    this.#ended++;
  }

  /** Every answer is in the history, once and in order, and nothing else is. */
  async assertNothingLost(): Promise<void> {
    const b: BenchRun = this.#b;
    for (const [n, digests] of this.#digests) {
      const digest = hashRounds(WORK_ROUNDS, n);
      b.check(
        digests.every((other) => other === digest),
        `run ${n} of an agent that behaves did its work`,
      );
    }
    for (const [id, n] of this.#counts) {
      const counts: unknown[] = [];
      for (let before: number | undefined; ;) {
        const page = await this.#host.messages(id, { limit: 1_000, ...(before === undefined ? {} : { before }) });
        const entries = page!.messages.filter((entry) => entry['role'] === 'assistant');
        counts.unshift(...entries.map((entry) => entry['n']));
        if (!page!.hasMore) break;
        before = page!.messages[0]!['seq'] as number;
      }
      b.check(counts.length === n, `${id} has ${counts.length} entries of ${n} answers`);
      b.check(
        counts.every((count, i) => count === i + 1),
        `the history of ${id} is in order`,
      );
    }
  }
}

/** Resolves when the run has said that it has begun, or is over. */
async function begun(run: RunHandle): Promise<void> {
  for await (const event of run.events) if (event.type === 'event') return;
}
