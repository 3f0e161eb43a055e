// Typed calls over Comlink: serve() exposes an object, remote() gives its methods on the other side. Both wrap results
// in an envelope, because an error that crosses Comlink as it is loses its code and its cause.

import { expose, wrap } from 'comlink';
import type { BatchEndpoint } from './endpoint.js';
import { fromWire, toWire, type WireError } from './errors.js';

/** An interface of calls: methods only, of any arguments. */
export type Calls = object;

/** The caller's side of an interface: every method returns a promise. */
export type Remote<T extends Calls> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};

type Envelope = { value: unknown } | { error: WireError };

/**
 * Answers calls of `T` that arrive at the endpoint.
 * @param methods every method of T that may be called; nothing else of the object can be reached
 */
export function serve<T extends Calls>(
  object: T,
  methods: readonly (keyof T & string)[],
  endpoint: BatchEndpoint,
): void {
  const table: Record<string, (...args: unknown[]) => Promise<Envelope>> = {};
  for (const name of methods) {
    const method = object[name] as (...args: unknown[]) => unknown;
    table[name] = async (...args) => {
      try {
        return { value: await method.apply(object, args) };
      } catch (error) {
        return { error: toWire(error) };
      }
    };
  }
  expose(table, endpoint);
}

/**
 * The calls of `T` at the other end. Rejections carry their CabanaError code. Each Comlink function is made once and
 * kept: making one builds a Proxy, and when the last of them is collected Comlink closes the link.
 */
export function remote<T extends Calls>(methods: readonly (keyof T & string)[], endpoint: BatchEndpoint): Remote<T> {
  const proxy = wrap<Record<string, (...args: unknown[]) => Envelope>>(endpoint);
  const calls: Record<string, (...args: unknown[]) => Promise<unknown>> = {};
  for (const name of methods) {
    const call = proxy[name] as unknown as (...args: unknown[]) => Promise<Envelope>;
    calls[name] = (...args) => call(...args).then(open);
  }
  return calls as Remote<T>;
}

function open(envelope: Envelope): unknown {
  if ('error' in envelope) throw fromWire(envelope.error);
  return envelope.value;
}
