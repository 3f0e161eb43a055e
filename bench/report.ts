// The report: each ratio against its target, and the growth curves, drawn by ECharts to SVG in one HTML file that needs
// nothing else; and the table for the README.

import * as echarts from 'echarts';
import type { Bench, Curve, Result } from './harness.js';

export interface Report {
  machine: { cpu: string; cores: number; memoryBytes: number; node: string; platform: string };
  date: string;
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
  td.no { background: #fbe3e0; } td.yes { background: #e3f3e3; } td.n { text-align: right; }
  svg { max-width: 100%; height: auto; }
</style>
<h1>Cabana benchmarks</h1>
<p>${escape(`${date}; ${machine.cpu}, ${machine.cores} cores, ${memory}, Node ${machine.node}, ${machine.platform}`)}.</p>
<p>Every ratio is ours divided by the baseline, both measured in the same run, in alternating rounds; the figure is the
median, the spread the least and the greatest round. A benchmark checks its own work: a wrong answer fails it.</p>
${sections}
</html>
`;
}

function section(bench: Bench, { results, curves }: Report): string {
  const own = results.filter((result) => result.bench === bench.name);
  const ratios = own.filter((result) => result.ratio !== null);
  const charts = [
    ...(ratios.length > 0 ? [ratioChart(ratios)] : []),
    ...curves.filter((curve) => curve.bench === bench.name).map(curveChart),
  ];
  return `<h2>${escape(bench.name)}</h2>\n<p>${escape(bench.question)}</p>\n${table(own)}\n${charts.join('\n')}`;
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

/** Each ratio as a bar on a log axis, with a line at its target. */
function ratioChart(results: readonly Result[]): string {
  const names = results.map((r) => `${r.metric} / ${r.baselineName}`);
  const limits = results.map((r) => (r.target === null ? null : Number(/[\d.]+/.exec(r.target)?.[0])));
  return draw(120 + 34 * results.length, {
    title: { text: 'Ratio to the baseline (bar), and its target (diamond)', textStyle: { fontSize: 14 } },
    grid: { left: 320, right: 60, top: 50, bottom: 40 },
    xAxis: { type: 'log', name: 'ratio' },
    yAxis: { type: 'category', data: names, inverse: true, axisLabel: { width: 300, overflow: 'truncate' } },
    series: [
      {
        type: 'bar',
        data: results.map((r) => ({
          value: r.ratio,
          itemStyle: { color: r.met === false ? '#d9705f' : r.met ? '#5fa864' : '#8899aa' },
        })),
        label: { show: true, position: 'right', formatter: ({ value }: { value: number }) => number(value) },
      },
      { type: 'scatter', symbol: 'diamond', symbolSize: 12, color: '#333', data: limits.map((limit, i) => [limit, i]) },
    ],
  });
}

/** Cost against N, on log axes. */
function curveChart(curve: Curve): string {
  return draw(340, {
    title: { text: `${curve.metric}, against ${curve.xUnit}`, textStyle: { fontSize: 14 } },
    legend: { top: 26, type: 'scroll' },
    grid: { left: 80, right: 80, top: 60, bottom: 45 },
    xAxis: { type: 'log', name: curve.xUnit },
    yAxis: { type: 'log', name: curve.unit },
    series: curve.series.map((line) => ({
      type: 'line',
      name: line.name,
      data: line.points.map(({ x, y }) => [x, y]),
    })),
  });
}

function draw(height: number, option: Record<string, unknown>): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 1000, height });
  chart.setOption({ animation: false, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** Three significant digits, without an exponent for what people read. */
function number(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude >= 1e9 || magnitude < 1e-3)) return value.toExponential(2);
  if (magnitude >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
