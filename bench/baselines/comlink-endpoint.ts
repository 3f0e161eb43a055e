// Plain Comlink over a MessagePort, as its node adapter does it: one message a call, structured clone, no more.

import type { Endpoint } from 'comlink';
import type { MessagePort } from 'node:worker_threads';

type Listener = (event: { data: unknown }) => void;

export function plainEndpoint(port: MessagePort): Endpoint {
  const wrapped = new Map<unknown, (data: unknown) => void>();
  return {
    postMessage: (message: unknown, transfers?: readonly unknown[]) =>
      port.postMessage(message, transfers as Parameters<MessagePort['postMessage']>[1]),
    addEventListener(_type: string, listener: unknown) {
      const onMessage = (data: unknown): void => (listener as Listener)({ data });
      wrapped.set(listener, onMessage);
      port.on('message', onMessage);
    },
    removeEventListener(_type: string, listener: unknown) {
      const onMessage = wrapped.get(listener);
      if (onMessage) port.off('message', onMessage);
      wrapped.delete(listener);
    },
    start: () => port.start(),
  };
}
