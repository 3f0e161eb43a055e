// A worker that posts one object per message: what events cost without a host.

import { parentPort } from 'node:worker_threads';

export interface RawEvents {
  events: number;
  portion: number;
}

const port = parentPort;
port?.on('message', ({ events, portion }: RawEvents) => {
  let i = 0;
  const some = (): void => {
    const end = Math.min(i + portion, events);
    for (; i < end; i++) port.postMessage({ i, type: 'delta', text: 'and so on' });
    if (i < events) setImmediate(some);
  };
  some();
});
