// The flush at a shutdown, shown as a bar on a terminal; elsewhere nothing.

import { Presets, SingleBar } from 'cli-progress';
import type { DrainProgress } from '../shutdown.js';

export type FlushBar = DrainProgress & { stop(): void };

export function flushBar(stream: NodeJS.WriteStream): FlushBar {
  if (!stream.isTTY) return { stop: () => undefined };
  const bar = new SingleBar(
    { format: 'flushing {bar} {value}/{total} agents', stream: stream, clearOnComplete: false },
    Presets.shades_classic,
  );
  let started = false;
  return {
    draining: (running) => {
      if (running > 0) stream.write(`draining: ${running} runs may finish\n`);
    },
    flushing: (done, live) => {
      if (!started) bar.start(live, done);
      started = true;
      bar.setTotal(live);
      bar.update(done);
    },
    stop: () => {
      if (started) bar.stop();
    },
  };
}
