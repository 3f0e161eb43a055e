// The call that is timed, and a thread that answers it: through our endpoint, raw, or through plain Comlink.

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

export interface EchoTask {
  how: 'ours' | 'raw' | 'comlink';
  port: MessagePort;
}

/** Not the identity: an answer shows that the work was done. */
export function echo(call: Call): Call {
  return { n: call.n + 1, text: call.text };
}

function answer({ how, port }: EchoTask): void {
  switch (how) {
    case 'ours':
      return serve<EchoCalls>({ echo }, ['echo'], new BatchEndpoint(port));
    case 'raw':
      port.on('message', (call: Call) => port.postMessage(echo(call)));
      return;
    case 'comlink':
      return expose({ echo }, plainEndpoint(port));
    default:
      return how satisfies never;
  }
}

const task = workerData as EchoTask | null;
if (parentPort && task?.how) answer(task);
