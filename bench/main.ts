// The command line of the benchmarks: `npm run bench -- [NAME...] [--json FILE] [--smoke] [--report FILE]`.

import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { BENCHES } from './benches.js';
import { BenchRun, type Bench, type Curve, type Result } from './harness.js';
import { markdownTable, reportHtml } from './report.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    report: { type: 'string' },
    smoke: { type: 'boolean', default: false },
  },
});

function chosen(): readonly Bench[] {
  if (positionals.length === 0) return BENCHES;
  return positionals.map((name) => {
    const bench = BENCHES.find((candidate) => candidate.name === name);
    if (!bench) throw new Error(`no benchmark ${name}; there are: ${BENCHES.map((b) => b.name).join(', ')}`);
    return bench;
  });
}

const started = performance.now();
const tty = process.stderr.isTTY;

function say(text: string): void {
  const at = `[${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s] ${text}`;
  process.stderr.write(tty ? `\r\u001b[2K${at.slice(0, process.stderr.columns - 1)}` : `${at}\n`);
}

const results: Result[] = [];
const curves: Curve[] = [];
const failures: string[] = [];

let benches: readonly Bench[];
try {
  benches = chosen();
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n`);
  process.exit(2);
}

for (const bench of benches) {
  const run = new BenchRun(bench, flags.smoke, say);
  try {
    await bench.run(run);
  } catch (error) {
    failures.push(`${bench.name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  } finally {
    await run.cleanUp();
  }
  results.push(...run.results);
  curves.push(...run.curves);
}
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
if (flags.json !== undefined) {
  const json = results.map(({ baselineName, ...result }) => ({ ...result, baseline_name: baselineName }));
  writeFileSync(flags.json, `${JSON.stringify({ machine, date, results: json, curves }, null, 2)}\n`);
}
const reportFile = flags.report ?? (flags.smoke ? undefined : 'bench/report.html');
if (reportFile !== undefined) writeFileSync(reportFile, reportHtml({ machine, date, results, curves, benches }));

for (const failure of failures) process.stderr.write(`FAILED ${failure}\n`);
process.exit(failures.length > 0 ? 1 : 0);
