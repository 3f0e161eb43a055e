// boot: from the start of the process to its ready line, with 0 to a million sessions on disk; side by side with Node
// doing nothing and with a bare fastify server. The list of the booted server must show the newest session.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { databaseOf, idOf, sessionsIn } from '../databases.js';
import { median, timed, type Bench, type BenchRun, type Result, type Target } from '../harness.js';
import { benchAgent, owned, tempDir } from '../support.js';

const CLI = fileURLToPath(new URL('../../src/main/cli.js', import.meta.url));
const FASTIFY = fileURLToPath(new URL('../baselines/plain-fastify.js', import.meta.url));
const OVER_FASTIFY_MS = 250;
const CURVE_ROUNDS = 3;

export const boot: Bench = {
  name: 'boot',
  question: 'How soon does a server answer after its start, and does that grow with what is on disk?',
  async run(b: BenchRun) {
    const sizes = b.smoke ? [0, 1_000] : [0, 10_000, 1_000_000];
    const most = sizes.at(-1)!;
    const dirs = new Map<number, string>();
    for (const size of sizes) {
      const dir = size === 0 ? tempDir(b) : await databaseOf(size);
      const found = size === 0 ? 0 : sessionsIn(dir);
      b.check(found === size, `${found} of ${size} sessions are on disk`);
      dirs.set(size, dir);
    }
    const boots: Boot[] = [];
    const cabana = (size: number) => async () => {
      const boot = await bootCabana(b, dirs.get(size)!, size);
      if (size === most) boots.push(boot);
      return boot.readyMs;
    };
    const unit = 'ms';
    let compared = 0;
    const compare = async (baseline: string, theirs: () => Promise<number>, target?: Target): Promise<Result> => {
      const metric = `start to ready, ${most} sessions`;
      const what = { metric, unit, baseline, startsAnew: true, ...(target && { target }) };
      const result = await b.compare(what, cabana(most), theirs);
      compared += result.rounds.length;
      return result;
    };
    if (!b.smoke) await compare('node -e 0', nodeMs);
    const besideFastify = await compare('a bare fastify server', () => fastifyMs(b));
    const differences = besideFastify.rounds.map((round) => round.value - round.baseline!);
    b.checkTime(
      median(differences) > 0,
      'the server, which starts fastify as well, is not there sooner than fastify alone',
    );
    b.recordValues(
      {
        metric: `start to ready, ${most} sessions, over a bare fastify server`,
        unit,
        target: { of: 'value', is: 'at most', limit: OVER_FASTIFY_MS },
        // Two starts may differ by more than they should.
        least: -Infinity,
      },
      differences,
    );
    await compare('an empty folder', cabana(0), { of: 'ratio', is: 'at most', limit: 1.2 });
    b.check(boots.length >= compared, `${boots.length} of ${compared} starts were those with ${most} sessions on disk`);
    const [readyMs, answerMs] = [median(boots.map((boot) => boot.readyMs)), median(boots.map((boot) => boot.answerMs))];
    b.recordValues({ metric: `ready to the first page, ${most} sessions`, unit }, [answerMs]);
    // What was put off until after the line would be found here.
    b.checkTime(answerMs < readyMs, `ready after ${readyMs} ms, and the first page ${answerMs} ms later`);
    if (!b.smoke) await curve(b, sizes, cabana);
  },
};

async function curve(b: BenchRun, sizes: readonly number[], cabana: (size: number) => () => Promise<number>) {
  const points = [];
  for (const x of sizes) {
    b.progress(`the curve, ${x} sessions`);
    const times = [];
    for (let i = 0; i < CURVE_ROUNDS; i++) times.push(await cabana(x)());
    // A log axis has no place for an empty folder.
    points.push({ x: Math.max(x, 1), y: median(times) });
  }
  b.curve({
    metric: 'start to ready',
    xUnit: 'sessions on disk (1: an empty folder)',
    unit: 'ms',
    series: [{ name: 'Cabana', points }],
  });
}

interface Boot {
  /** From the start to the ready line, and from there to the first page of the list. */
  readyMs: number;
  answerMs: number;
}

async function bootCabana(b: BenchRun, dataDir: string, sessions: number): Promise<Boot> {
  const args = ['serve', '--agents', benchAgent('light'), '--data', dataDir, '--port', '0', '--threads', '2'];
  let answerMs = Infinity;
  const readyMs = await untilReady([CLI, ...args, '--log-level', 'error'], async (line) => {
    const url = /^cabana ready on (\S+)$/.exec(line)?.[1];
    b.check(url !== undefined, `the server said: ${line}`);
    const readyAt = performance.now();
    const response = await fetch(`${url}/api/sessions?limit=1&include_pinned=false`);
    answerMs = performance.now() - readyAt;
    const { sessions: rows } = (await response.json()) as { sessions: { id: string }[] };
    b.check(response.ok && rows[0]?.id === (sessions === 0 ? undefined : idOf(sessions - 1)), 'the list is there');
  });
  return { readyMs, answerMs };
}

function fastifyMs(b: BenchRun): Promise<number> {
  return untilReady([FASTIFY], async (line) => b.check(line.startsWith('ready on '), `the server said: ${line}`));
}

function nodeMs(): Promise<number> {
  return timed(async () => {
    const child = owned(spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }));
    await once(child, 'exit');
  });
}

/** Milliseconds from the start of the process to its first line; then it is checked, and stopped. */
async function untilReady(args: string[], check: (line: string) => Promise<void>): Promise<number> {
  const start = performance.now();
  const child: ChildProcess = owned(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
  const exited = once(child, 'exit');
  try {
    const lines = createInterface({ input: child.stdout! });
    const first = once(lines, 'line') as Promise<[string]>;
    const line = (await Promise.race([first, exited.then(() => [''])]))[0];
    const ms = performance.now() - start;
    await check(line);
    return ms;
  } finally {
    // Its shutdown is not what is measured, and nothing of it is needed.
    child.kill('SIGKILL');
    await exited;
  }
}
