// Typed calls between threads: answerCalls() answers those of an object, remote() makes them. What is plain data travels as
// the endpoint's own calls; a call that moves something (a port) is carried by Comlink, which knows how.

import { expose, releaseProxy, wrap } from 'comlink';
import { MessagePort } from 'node:worker_threads';
import type { BatchEndpoint } from './endpoint.js';
import { CabanaError, fromWire, toWire, type WireError } from './errors.js';

/** An interface of calls: methods only, of any arguments. */
export type Calls = object;

/** The caller's side of an interface: every method returns a promise. */
export type Remote<T extends Calls> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};

interface Releasable {
  [releaseProxy](): void;
}
type Method = (...args: unknown[]) => unknown;
/** Comlink's results: an error that crosses it as it is loses its code and its cause. */
type Envelope = { value: unknown } | { error: WireError };

/**
 * Answers calls of `T` that arrive at the endpoint.
 * @param methods every method of T that may be called; nothing else of the object can be reached
 */
export function answerCalls<T extends Calls>(
  object: T,
  methods: readonly (keyof T & string)[],
  endpoint: BatchEndpoint,
): void {
  const table = new Map<string, Method>(methods.map((name) => [name, (object[name] as Method).bind(object)]));
  endpoint.onCall((name, args) => {
    const method = table.get(name);
    if (!method) throw new CabanaError('INTERNAL', `there is no call "${name}"`);
    return method(...args);
  });
  const enveloped = [...table].map(([name, method]) => [name, inEnvelope(method)] as const);
  expose(Object.fromEntries(enveloped), endpoint);
}

/** The calls of `T` at the other end. Rejections carry their CabanaError code. */
export function remote<T extends Calls>(methods: readonly (keyof T & string)[], endpoint: BatchEndpoint): Remote<T> {
  const proxy = wrap<Record<string, (...args: unknown[]) => Envelope>>(endpoint);
  const proxies = [proxy as unknown as Releasable];
  const calls: Record<string, (...args: unknown[]) => Promise<unknown>> = {};
  for (const name of methods) {
    // Made once and kept: making one builds a Proxy, and when the last of them is collected Comlink closes the link.
    const byComlink = proxy[name] as unknown as (...args: unknown[]) => Promise<Envelope>;
    proxies.push(byComlink as unknown as Releasable);
    calls[name] = (...args) =>
      args.some(moves) && !endpoint.isDead ? byComlink(...args).then(open) : endpoint.call(name, args);
  }
  // Comlink keeps an endpoint as long as there is a proxy of it, and with it all that it leads to: the proxies themselves.
  endpoint.onDeath(() => {
    for (const each of proxies) each[releaseProxy]();
  });
  return calls as Remote<T>;
}

function moves(arg: unknown): boolean {
  return arg instanceof MessagePort;
}

function inEnvelope(method: Method): (...args: unknown[]) => Promise<Envelope> {
  return async (...args) => {
    try {
      return { value: await method(...args) };
    } catch (error) {
      return { error: toWire(error) };
    }
  };
}

function open(envelope: Envelope): unknown {
  if ('error' in envelope) throw fromWire(envelope.error);
  return envelope.value;
}
