// The charts of the report, drawn by ECharts to SVG: each ratio against its target, and cost against N.

import * as echarts from 'echarts';
import { number, type Curve, type Result } from './harness.js';

const WIDTH_PX = 1000;
/** Room for five lines of a name. */
const ROW_PX = 74;
/** For the names; the drawing guesses how wide a text is, so they get less than there is. */
const NAMES_PX = 430;
const NAME_PX = 320;
const TEXT = { color: '#333', fontSize: 12 } as const;
const MET = '#3f8f4a';
const MISSED = '#c5493a';
const UNAIMED = '#7486a0';
/** As many as a chart has lines, told apart by their symbol as well. */
const COLOURS = [
  '#3b66c4',
  '#d9822b',
  '#3f8f4a',
  '#c5493a',
  '#7d4fb3',
  '#8a6d3b',
  '#d068a8',
  '#5f6b7a',
  '#a3a11c',
  '#1f9ea8',
] as const;
const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'emptyCircle', 'emptyRect', 'emptyTriangle'] as const;

/**
 * A row for each ratio, on a log axis: a dot for the median of the rounds, a line from the least to the greatest, and a
 * triangle at the target that points to where the dot should be.
 */
export function ratioChart(results: readonly Result[]): string {
  const figures = results.flatMap((r) => [r.ratio!, ...r.spread, ...(limitOf(r) === null ? [] : [limitOf(r)!])]);
  return draw(170 + ROW_PX * results.length, {
    title: title(
      `${results[0]!.bench}: ratio to the baseline, and its target`,
      'Dot and figure: median of the rounds. Grey line: least to greatest round. A triangle points to where the dot is to be.',
    ),
    legend: {
      ...LEGEND,
      data: ['target met', 'target missed', 'no target', 'target, at least', 'target, at most'],
    },
    grid: { left: NAMES_PX, right: 110, top: 60, bottom: 95 },
    xAxis: {
      ...axis('ours divided by the baseline (log scale; at 1 both are the same)', 30),
      ...decades([1, ...figures]),
      splitLine: { show: true },
    },
    yAxis: [
      { ...rows(results.map(rowName)), axisLabel: { ...TEXT, width: NAME_PX, overflow: 'break', lineHeight: 14 } },
      { ...rows(results.map((r) => number(r.ratio!))), position: 'right', axisLabel: { ...TEXT, fontWeight: 'bold' } },
    ],
    series: [
      {
        type: 'custom',
        data: results.map((r, i) => [...r.spread, i]),
        renderItem: spreadLine,
        silent: true,
        markLine: AT_ONE,
      },
      dots('target met', MET, results, (r) => r.met === true),
      dots('target missed', MISSED, results, (r) => r.met === false),
      dots('no target', UNAIMED, results, (r) => r.met === null),
      targets('target, at least', 'path://M0,0 L0,10 L9,5 Z', results, 'at least'),
      targets('target, at most', 'path://M9,0 L9,10 L0,5 Z', results, 'at most'),
    ],
  });
}

/** Cost against N, both on log axes. */
export function curveChart(curve: Curve): string {
  const legendRows = Math.ceil(curve.series.reduce((chars, { name }) => chars + name.length + 8, 0) / 130);
  const points = curve.series.flatMap((line) => line.points);
  return draw(440 + 22 * legendRows, {
    title: title(`${curve.bench}: ${curve.metric}, by ${curve.xUnit}`),
    legend: LEGEND,
    grid: { left: 110, right: 40, top: 50, bottom: 62 + 22 * legendRows },
    xAxis: { ...axis(`${curve.xUnit} (log scale)`, 30), ...decades(points.map(({ x }) => x)) },
    yAxis: {
      ...axis(`${[curve.unit, better(curve.unit)].join(', ')} (log scale)`, 75),
      ...decades(points.map(({ y }) => y)),
    },
    series: curve.series.map((line, i) => ({
      type: 'line',
      name: line.name,
      color: COLOURS[i % COLOURS.length],
      symbol: SYMBOLS[i % SYMBOLS.length],
      symbolSize: 8,
      data: line.points.map(({ x, y }) => [x, y]),
    })),
  });
}

/** Which way is better: rates are the more the better, times and sizes the less. */
export function better(unit: string): string {
  return unit.endsWith('/s') ? 'more is better' : 'less is better';
}

function rowName(result: Result): string {
  const { metric, unit, baselineName, target } = result;
  const name = `${metric} (${unit}, ${better(unit)})\nagainst ${baselineName}`;
  return target !== null && limitOf(result) === null ? `${name}\nthe target is on the value: ${target}` : name;
}

function limitOf({ target }: Result): number | null {
  // An absolute limit has no place on the axis of ratios.
  return target?.startsWith('ratio ') ? Number(/[\d.]+/.exec(target)![0]) : null;
}

function dots(name: string, color: string, results: readonly Result[], which: (r: Result) => boolean): object {
  const data = results.flatMap((r, i) => (which(r) ? [[r.ratio, i]] : []));
  return { type: 'scatter', name, color, symbolSize: 12, data };
}

function targets(name: string, symbol: string, results: readonly Result[], is: string): object {
  const data = results.flatMap((r, i) => (limitOf(r) !== null && r.target!.includes(is) ? [[limitOf(r), i]] : []));
  // Below the dots: one that meets its target exactly would be hidden.
  return { type: 'scatter', name, color: '#222', symbol, symbolSize: 10, symbolOffset: [0, 14], data };
}

interface CustomApi {
  value(dimension: number): number;
  coord(point: [number, number]): [number, number];
}

function spreadLine(_: unknown, api: CustomApi): object {
  const [x1, y1] = api.coord([api.value(0), api.value(2)]);
  const [x2, y2] = api.coord([api.value(1), api.value(2)]);
  return { type: 'line', shape: { x1, y1, x2, y2 }, style: { stroke: '#9aa5b1', lineWidth: 4 } };
}

/** Where both are the same. */
const AT_ONE = {
  silent: true,
  symbol: 'none',
  label: { show: false },
  lineStyle: { color: '#666', type: 'dashed', width: 1 },
  data: [{ xAxis: 1 }],
} as const;

const LEGEND = { bottom: 4, left: 'center', itemGap: 18, textStyle: TEXT } as const;

function title(text: string, subtext = ''): object {
  return { text, subtext, left: 0, itemGap: 6, textStyle: { fontSize: 14, color: '#222' }, subtextStyle: TEXT };
}

function axis(name: string, nameGap: number): object {
  const axisLabel = { ...TEXT, formatter: number };
  return { type: 'log', name, nameLocation: 'middle', nameGap, nameTextStyle: TEXT, axisLabel };
}

function rows(data: string[]): object {
  return { type: 'category', data, inverse: true, axisTick: { show: false }, splitLine: { show: true } };
}

/** Whole decades that hold all values. */
function decades(values: readonly number[]): { min: number; max: number } {
  const min = 10 ** Math.floor(Math.log10(Math.min(...values)));
  const max = 10 ** Math.ceil(Math.log10(Math.max(...values)));
  return { min, max: max > min ? max : min * 10 };
}

function draw(height: number, option: Record<string, unknown>): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH_PX, height });
  chart.setOption({ animation: false, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}
