// What the demo shows: on a terminal a small table that is redrawn in place, elsewhere a line now and then.

import type { Watcher } from './watcher.js';

const REDRAW_MS = 100;
const LINE_EVERY_MS = 2_000;
const BAR_CHARS = 20;

const isTerminal = process.stdout.isTTY === true;
const started = performance.now();

/** A headline of the story. */
export function say(text: string): void {
  process.stdout.write(`[${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s] ${text}\n`);
}

export function tell(text: string): void {
  process.stdout.write(`          ${text}\n`);
}

/** Shows the sessions while `work` goes on. */
export async function showing<T>(watchers: readonly Watcher[], work: Promise<T>): Promise<T> {
  let drawn = false;
  let drawnAt = -Infinity;
  const draw = (): void => {
    if (drawn && isTerminal) process.stdout.write(`\x1b[${watchers.length}A`);
    for (const watcher of watchers) {
      // Cleared and cut to the width: a line that wraps would spoil the redrawing.
      if (isTerminal)
        process.stdout.write(`\x1b[2K${`          ${lineOf(watcher)}`.slice(0, process.stdout.columns - 1)}\n`);
      else if (watcher.running) tell(lineOf(watcher));
    }
    drawn = true;
    drawnAt = performance.now();
  };
  const timer = setInterval(draw, isTerminal ? REDRAW_MS : LINE_EVERY_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    // The end of it, unless it has just been said.
    if (isTerminal || performance.now() - drawnAt > LINE_EVERY_MS / 4) draw();
  }
}

function lineOf({ name, progress, running, label, seen, events }: Watcher): string {
  const full = Math.round(progress * BAR_CHARS);
  const bar = '#'.repeat(full) + '.'.repeat(BAR_CHARS - full);
  const figures = `${String(seen.size).padStart(3)} entries ${String(events).padStart(3)} events`;
  return `${name.padEnd(26)} ${running ? bar : ' '.repeat(BAR_CHARS)} ${figures}  ${label}`;
}
