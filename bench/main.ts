// The command line of the benchmarks: `npm run bench -- [NAME...] [--json FILE] [--smoke] [--report FILE]`.
//
// The table goes to stdout, progress to stderr: every round on a terminal, otherwise one line per finished benchmark
// (none with --smoke). Exit codes: 0, 1 (a benchmark failed: what it timed did not do its work, or did
// not end), 2 (wrong arguments).

import { closeSync, existsSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BENCHES } from './benches.js';
import { messageOf } from '../src/protocol/errors.js';
import type { Bench } from './harness.js';
import { markdownTable, reportHtml } from './report.js';
import { Runner } from './runner.js';

interface Asked {
  benches: readonly Bench[];
  smoke: boolean;
  /** Files to write at the end. */
  json: string | undefined;
  report: string | undefined;
}

/** A benchmark that hangs is a failure like any other, but the last: what has been measured by then is told all the same. */
const LIMITS_MS = { run: 300_000, cleanUp: 40_000 };
const SMOKE_LIMITS_MS = { run: 60_000, cleanUp: 40_000 };

const USAGE = `npm run bench -- [NAME...] [--json FILE] [--report FILE] [--smoke]
benchmarks: ${BENCHES.map(({ name }) => name).join(', ')}`;
/** Beside the benchmarks' sources, from wherever they are run. */
const REPORT = fileURLToPath(new URL('../../bench/report.html', import.meta.url));

function asked(args: string[]): Asked {
  try {
    return parsed(args);
  } catch (error) {
    process.stderr.write(`bench: ${messageOf(error)}\nusage: ${USAGE}\n`);
    return process.exit(2);
  }
}

/** @throws Error, in words for the user */
function parsed(args: string[]): Asked {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      report: { type: 'string' },
      smoke: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const { smoke, json } = values;
  if (values.help) {
    process.stdout.write(`usage: ${USAGE}\n`);
    process.exit(0);
  }
  const report = values.report ?? (smoke ? undefined : REPORT);
  // Checked now, before the measuring.
  const benches = named(positionals);
  if (json !== undefined && report !== undefined && resolve(json) === resolve(report)) {
    throw new Error(`--json and --report are both ${json}`);
  }
  for (const file of [json, report]) if (file !== undefined) checkWritable(file);
  return { benches, smoke, json, report };
}

/** A new one is gone at the exit if nothing was written to it. @throws Error if it cannot be opened */
function checkWritable(file: string): void {
  const isNew = !existsSync(file);
  closeSync(openSync(file, 'a'));
  if (!isNew) return;
  process.once('exit', () => {
    if (existsSync(file) && statSync(file).size === 0) rmSync(file);
  });
}

/** In the order of a full run, each once; all when none is named. */
function named(names: readonly string[]): readonly Bench[] {
  const unknown = names.find((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown !== undefined) {
    throw new Error(`no benchmark ${unknown}; there are: ${BENCHES.map((bench) => bench.name).join(', ')}`);
  }
  return names.length === 0 ? BENCHES : BENCHES.filter((bench) => names.includes(bench.name));
}

const { benches, smoke, json, report } = asked(process.argv.slice(2));
const started = performance.now();
const tty = process.stderr.isTTY;

function say(text: string): void {
  if (tty) process.stderr.write(`\r\u001b[2K${stamped(text).slice(0, process.stderr.columns - 1)}`);
}

function stamped(text: string): string {
  return `[${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s] ${text}`;
}

const runner = new Runner({
  smoke,
  limitsMs: smoke ? SMOKE_LIMITS_MS : LIMITS_MS,
  onProgress: say,
  onOver: ({ name }) => {
    if (!tty && !smoke) process.stderr.write(`${stamped(`${name} is over`)}\n`);
  },
});
const { results, curves, failures } = runner;

process.on('unhandledRejection', (error) => runner.failed(error));
process.on('uncaughtException', (error) => runner.crashed(error));
// Processes are ended and folders removed at the exit, however it comes.
process.on('SIGHUP', () => process.exit(129));
process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

await runner.run(benches);
if (tty) process.stderr.write('\r\u001b[2K');

const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memoryBytes: totalmem(),
  node: process.version,
  platform: `${process.platform} ${process.arch}`,
};
const date = new Date().toISOString();

process.stdout.write(`${markdownTable(results)}\n`);
if (json !== undefined) {
  const rows = results.map(({ baselineName, ...result }) => ({ ...result, baseline_name: baselineName }));
  writeFileSync(json, `${JSON.stringify({ machine, date, failures, results: rows, curves }, null, 2)}\n`);
}
if (report !== undefined) {
  writeFileSync(report, reportHtml({ machine, date, failures, results, curves, benches }));
  if (tty) process.stderr.write(`the report is ${report}\n`);
}
for (const failure of failures) process.stderr.write(`FAILED ${failure}\n`);
process.exit(failures.length > 0 ? 1 : 0);
