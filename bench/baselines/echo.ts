// The call that is timed, and a thread that answers it: through our endpoint, raw, and through plain Comlink.

import { expose } from 'comlink';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { answerCalls } from '../../src/protocol/calls.js';
import { BatchEndpoint } from '../../src/protocol/endpoint.js';
import { plainEndpoint } from './comlink-endpoint.js';

export interface Call {
  n: number;
  text: string;
}

export interface EchoCalls {
  echo(call: Call): Call;
}

export type EchoSide = 'ours' | 'raw' | 'comlink';
/** A port for each way of calling. */
export type EchoPorts = Record<EchoSide, MessagePort>;
/** How many calls came each way: told when the thread is asked, by any message. */
export type EchoServed = Record<EchoSide, number>;

/** Not the identity: an answer shows that the work was done. */
export function echo(call: Call): Call {
  return { n: call.n + 1, text: call.text };
}

const ports = workerData as EchoPorts | null;
if (parentPort && ports?.raw) {
  const served: EchoServed = { ours: 0, raw: 0, comlink: 0 };
  const counted = (side: EchoSide) => (call: Call) => {
    served[side]++;
    return echo(call);
  };
  const raw = counted('raw');
  answerCalls<EchoCalls>({ echo: counted('ours') }, ['echo'], new BatchEndpoint(ports.ours));
  ports.raw.on('message', (call: Call) => ports.raw.postMessage(raw(call)));
  expose({ echo: counted('comlink') }, plainEndpoint(ports.comlink));
  const main = parentPort;
  main.on('message', () => main.postMessage(served));
}
