// Agents of a worker thread as people write them by hand: their states in a map, and one that spins holds up the others.

import { parentPort } from 'node:worker_threads';

export type AskPlainAgent = { session: string; input: string } | 'spin';

const states = new Map<string, number>();

parentPort!.on('message', (ask: AskPlainAgent) => {
  if (ask === 'spin') {
    parentPort!.postMessage('spinning');
    for (;;);
  }
  states.set(ask.session, (states.get(ask.session) ?? 0) + 1);
  parentPort!.postMessage(ask.input);
});
