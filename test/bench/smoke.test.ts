// The benchmarks at smoke size, so that none of them rots: each runs, checks its own work, and its figures can be
// recomputed from its rounds.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BENCHES } from '../../bench/benches.js';
import { BenchRun, CheckFailed, median, type Bench } from '../../bench/harness.js';
import { Runner, type RunnerOptions } from '../../bench/runner.js';
import { tempDir } from '../support/temp.js';

/** Nothing that ends uses them up. */
const LIMITS_MS = { run: 10_000, cleanUp: 10_000 };

const MAIN = fileURLToPath(new URL('../../bench/main.js', import.meta.url));

interface JsonResult {
  bench: string;
  value: number;
  baseline: number | null;
  ratio: number | null;
  rounds: { value: number; baseline: number | null }[];
}

for (const bench of BENCHES) {
  test(`the benchmark ${bench.name} runs at smoke size, and its figures follow from its rounds`, async (t) => {
    const file = join(tempDir(t), 'results.json');
    const args = [MAIN, bench.name, '--smoke', '--json', file];
    const { stderr } = await promisify(execFile)(process.execPath, args, { timeout: 300_000 });
    assert.equal(stderr, '', 'in a pipe it is quiet');
    const { results } = JSON.parse(readFileSync(file, 'utf8')) as { results: JsonResult[] };
    assert.ok(results.length > 0);
    for (const result of results) {
      assert.equal(result.bench, bench.name);
      assert.ok(Number.isFinite(result.value));
      assert.equal(result.value, median(result.rounds.map((round) => round.value)));
      const ratios = result.rounds.flatMap((round) => (round.baseline === null ? [] : [round.value / round.baseline]));
      assert.equal(result.ratio, ratios.length === 0 ? null : median(ratios));
    }
  });
}

test('a benchmark whose own check fails is a failure, whatever it measured', async () => {
  const wrong = { name: 'wrong', question: 'Is a fast wrong answer caught?', run: async () => undefined };
  const run: BenchRun = new BenchRun(wrong, true, () => undefined);
  const measured = run.measure({ metric: 'answers', unit: 'ms' }, () => {
    run.check(1 + 1 === 3, 'the answer is wrong');
    return 0;
  });
  await assert.rejects(measured, CheckFailed);
  assert.equal(run.results.length, 0);
});

test('what a benchmark leaves to be done when it is over is done, whatever of it fails', async () => {
  const done: string[] = [];
  const leaving: Bench = {
    name: 'leaving',
    question: 'Is everything cleaned up?',
    run: async (b) => {
      b.after(() => done.push('first'));
      b.after(() => Promise.reject(new Error('the second cannot')));
      b.after(() => {
        throw new Error('the third cannot');
      });
      b.after(() => done.push('fourth'));
    },
  };
  const runner = runnerOf(LIMITS_MS);
  await runner.run([leaving]);
  assert.deepEqual(done, ['fourth', 'first']);
  assert.equal(runner.failures.length, 1);
  assert.match(runner.failures[0]!, /^leaving, when it was over: .*the third cannot.*the second cannot/s);
});

test('nothing runs beside a benchmark that does not end, and what was measured by then is kept', async () => {
  const ran: string[] = [];
  const bench = (name: string, run: (b: BenchRun) => Promise<unknown>): Bench => ({
    name,
    question: 'Which of them run?',
    run: async (b) => {
      b.after(() => ran.push(`${name} is cleaned up`));
      ran.push(name);
      await b.measure({ metric: 'answers', unit: 'ms' }, () => 1);
      await run(b);
    },
  });
  const limitsMs = { ...LIMITS_MS };
  const runner = runnerOf(limitsMs);
  await runner.run([
    bench('failing', (b) => {
      // Of the next one, which uses it up.
      limitsMs.run = 50;
      return Promise.reject(new CheckFailed(`${b.rounds} is wrong`));
    }),
    bench('endless', () => new Promise(() => undefined)),
    bench('next', () => Promise.resolve()),
    bench('last', () => Promise.resolve()),
  ]);
  assert.deepEqual(ran, ['failing', 'failing is cleaned up', 'endless', 'endless is cleaned up']);
  assert.deepEqual(
    runner.results.map((result) => result.bench),
    ['failing', 'endless'],
  );
  assert.deepEqual(runner.failures, [
    '1 is wrong',
    'endless: answers, round 1 of 1: not over after 0.05 s',
    'not run, since endless is not over: next, last',
  ]);
});

test('what a listener throws fails the benchmark that runs at once, and what was measured by then is kept', async () => {
  const runner = runnerOf({ run: 10_000, cleanUp: 10_000 });
  const listening: Bench = {
    name: 'listening',
    question: 'Is a run lost with a listener?',
    run: async (b) => {
      await b.measure({ metric: 'answers', unit: 'ms' }, () => 1);
      runner.crashed('thrown by a listener');
      await new Promise(() => undefined);
    },
  };
  await runner.run([listening, { ...listening, name: 'next' }]);
  assert.equal(runner.results.length, 1);
  assert.deepEqual(runner.failures, [
    'listening: answers, round 1 of 1: thrown by a listener',
    'not run, since listening is not over: next',
  ]);
});

test('no figure is 0 or less unless it says that it may be', async () => {
  const run: BenchRun = new BenchRun({ name: 'zero', question: '', run: async () => undefined }, true, () => undefined);
  assert.throws(() => run.recordValues({ metric: 'delay', unit: 'ms' }, [0]), CheckFailed);
  assert.throws(() => run.record({ metric: 'delay', unit: 'ms', baseline: 'none' }, [{ value: 1, baseline: -1 }]));
  assert.equal(run.recordValues({ metric: 'missing', unit: 'events', least: 0 }, [0]).value, 0);
});

test('a figure with a target has five rounds in a full run, or says why not', async () => {
  const run: BenchRun = new BenchRun(
    { name: 'once', question: '', run: async () => undefined },
    false,
    () => undefined,
  );
  const what = { metric: 'delay', unit: 'ms', target: { of: 'value', is: 'at most', limit: 2 } } as const;
  assert.throws(() => run.recordValues(what, [1, 1, 1, 1]), CheckFailed);
  assert.equal(run.recordValues(what, [1, 1, 1, 1, 1]).met, true);
  assert.equal(run.recordValues({ ...what, onceSince: 'it is counted' }, [3]).met, false);
});

function runnerOf(limitsMs: RunnerOptions['limitsMs']): Runner {
  const nothing = (): void => undefined;
  return new Runner({ smoke: true, limitsMs, onProgress: nothing, onOver: nothing });
}

test('what there is not is named in one line, and nothing is run', async (t) => {
  const missing = join(tempDir(t), 'no', 'folder');
  const wrong: [string[], RegExp][] = [
    [['nothing'], /no benchmark nothing; there are: call, /],
    [['--fast'], /--fast/],
    [['--json'], /--json/],
    [['--json', 'same.html', '--report', './same.html'], /--json and --report are both same.html/],
    [['--smoke', '--json', missing], /no such file/],
  ];
  for (const [args, message] of wrong) {
    const run = promisify(execFile)(process.execPath, [MAIN, ...args], { timeout: 300_000 });
    await assert.rejects(run, (error: { code: number; stdout: string; stderr: string }) => {
      assert.equal(error.code, 2);
      assert.equal(error.stdout, '');
      assert.match(error.stderr, message);
      return true;
    });
  }
});

test('the report shows each ratio beside its target, and each curve, in one file', async (t) => {
  const file = join(tempDir(t), 'report.html');
  await promisify(execFile)(process.execPath, [MAIN, 'status', '--smoke', '--report', file], { timeout: 300_000 });
  const html = readFileSync(file, 'utf8');
  assert.equal(html.match(/<svg/g)?.length, 2);
  for (const text of ['against through Comlink', 'less is better', 'live sessions (log scale)']) {
    assert.ok(html.includes(text), text);
  }
});
