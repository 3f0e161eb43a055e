// The report: tables and charts in one HTML file that needs nothing else; and the table for the README.

import { curveChart, ratioChart } from './charts.js';
import { number, type Bench, type Curve, type Result } from './harness.js';

export interface Report {
  machine: { cpu: string; cores: number; memoryBytes: number; node: string; platform: string };
  date: string;
  /** What the benchmarks' own checks found wrong: such a benchmark's figures prove nothing. */
  failures: readonly string[];
  results: readonly Result[];
  curves: readonly Curve[];
  benches: readonly Bench[];
}

export function markdownTable(results: readonly Result[]): string {
  const head = '| bench | what | value | side by side with | its value | ratio (spread) | target | met |';
  const rows = results.map((r) => {
    const baseline = r.baseline === null ? '' : number(r.baseline);
    const spread = `${number(r.spread[0])} to ${number(r.spread[1])}`;
    const ratio = r.ratio === null ? `(${spread})` : `${number(r.ratio)} (${spread})`;
    const met = r.met === null ? '' : r.met ? 'yes' : 'no';
    const value = `${number(r.value)} ${r.unit}`;
    return `| ${r.bench} | ${r.metric} | ${value} | ${r.baselineName ?? ''} | ${baseline} | ${ratio} | ${r.target ?? ''} | ${met} |`;
  });
  return [head, '|---|---|---:|---|---:|---:|---|---|', ...rows].join('\n');
}

export function reportHtml(report: Report): string {
  const { machine, date, benches } = report;
  const memory = `${Math.round(machine.memoryBytes / 2 ** 30)} GiB`;
  const sections = benches.map((bench) => section(bench, report)).join('\n');
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Cabana benchmarks</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
  table { border-collapse: collapse; font-size: 13px; } td, th { border: 1px solid #ccc; padding: 0.2rem 0.5rem; }
  td.no { background: #fbe3e0; } td.yes { background: #e3f3e3; } td.n { text-align: right; white-space: nowrap; }
  p.failed { background: #fbe3e0; padding: 0.5rem; white-space: pre-wrap; }
  svg { max-width: 100%; height: auto; }
</style>
<h1>Cabana benchmarks</h1>
<p>${escape(`${date}; ${machine.cpu}, ${machine.cores} cores, ${memory}, Node ${machine.node}, ${machine.platform}`)}.</p>
<p>Each figure is the median of its rounds, its spread the least and the greatest of them. A ratio is ours divided by the
baseline's: both were measured in the same run, in alternating rounds. Of rates (per second) more is better, of everything
else less. A benchmark checks its own work: a wrong answer fails it, however fast.</p>
${report.failures.map((failure) => `<p class="failed">FAILED ${escape(failure)}</p>`).join('\n')}
${overview(report)}
${sections}
</html>
`;
}

/** Each benchmark with its question, and how many of its targets are met. */
function overview({ benches, results }: Report): string {
  const lines = benches.map(({ name, question }) => {
    const aimed = results.filter((result) => result.bench === name && result.met !== null);
    const met = aimed.filter((result) => result.met).length;
    const all = met === aimed.length ? 'yes' : 'no';
    const cell = aimed.length === 0 ? '<td></td>' : `<td class="${all}">${met} of ${aimed.length}</td>`;
    return `<tr><td><a href="#${name}">${escape(name)}</a></td><td>${escape(question)}</td>${cell}</tr>`;
  });
  return `<table><tr><th>benchmark</th><th>question</th><th>targets met</th></tr>${lines.join('\n')}</table>`;
}

function section(bench: Bench, { results, curves }: Report): string {
  const own = results.filter((result) => result.bench === bench.name);
  const ratios = own.filter((result) => result.ratio !== null);
  const charts = [
    ...(ratios.length > 0 ? [ratioChart(ratios)] : []),
    ...curves.filter((curve) => curve.bench === bench.name).map(curveChart),
  ];
  return `<h2 id="${bench.name}">${escape(bench.name)}</h2>\n<p>${escape(bench.question)}</p>\n${table(own)}\n${charts.join('\n')}`;
}

function table(results: readonly Result[]): string {
  const cells = results.map((r) => {
    const ratio = r.ratio === null ? '' : number(r.ratio);
    const met = r.met === null ? '<td></td>' : `<td class="${r.met ? 'yes' : 'no'}">${r.met ? 'yes' : 'no'}</td>`;
    return `<tr><td>${escape(r.metric)}</td><td class="n">${number(r.value)} ${escape(r.unit)}</td>
<td>${escape(r.baselineName ?? '')}</td><td class="n">${r.baseline === null ? '' : number(r.baseline)}</td>
<td class="n">${ratio}</td><td class="n">${number(r.spread[0])} to ${number(r.spread[1])}</td>
<td>${escape(r.target ?? '')}</td>${met}</tr>`;
  });
  return `<table><tr><th>what</th><th>value</th><th>side by side with</th><th>its value</th><th>ratio</th><th>spread</th>
<th>target</th><th>met</th></tr>${cells.join('\n')}</table>`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
