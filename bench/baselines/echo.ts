// The call that is timed, and a thread that answers it: through our endpoint, raw, and through plain Comlink.

import { expose } from 'comlink';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { serve } from '../../src/protocol/calls.js';
import { BatchEndpoint } from '../../src/protocol/endpoint.js';
import { plainEndpoint } from './comlink-endpoint.js';

export interface Call {
  n: number;
  text: string;
}

export interface EchoCalls {
  echo(call: Call): Call;
}

/** A port for each way of calling. */
export type EchoPorts = Record<'ours' | 'raw' | 'comlink', MessagePort>;

/** Not the identity: an answer shows that the work was done. */
export function echo(call: Call): Call {
  return { n: call.n + 1, text: call.text };
}

const ports = workerData as EchoPorts | null;
if (parentPort && ports?.raw) {
  serve<EchoCalls>({ echo }, ['echo'], new BatchEndpoint(ports.ours));
  ports.raw.on('message', (call: Call) => ports.raw.postMessage(echo(call)));
  expose({ echo }, plainEndpoint(ports.comlink));
}
