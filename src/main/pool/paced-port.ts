// A port whose messages do not hold main's event loop: what comes in beyond a few milliseconds a turn waits, in its order,
// for the next one. Node would drain a port in one turn as long as anything comes in.

import type { MessagePort, Transferable } from 'node:worker_threads';
import type { EndpointPort } from '../../protocol/endpoint.js';

type Listener = (message: unknown) => void;

export class PacedPort implements EndpointPort {
  readonly #port: MessagePort;
  readonly #turnMaxMs: number;
  /** When this turn has had its share; null: nothing was delivered in it yet. */
  #turnEndsAt: number | null = null;
  /** Bounded by what the other thread may have on its way. For each there is one immediate to come. */
  readonly #waiting: unknown[] = [];
  #listener: Listener = () => undefined;

  constructor(port: MessagePort, turnMaxMs: number) {
    this.#port = port;
    this.#turnMaxMs = turnMaxMs;
    port.on('message', (message: unknown) => this.#arrived(message));
  }

  on(_event: 'message', listener: Listener): void {
    this.#listener = listener;
  }

  postMessage(message: unknown, transfers: readonly Transferable[]): void {
    this.#port.postMessage(message, transfers);
  }

  /** What has arrived is delivered first. */
  close(): void {
    this.#port.close();
    for (const message of this.#waiting.splice(0)) this.#listener(message);
  }

  #arrived(message: unknown): void {
    if (this.#waiting.length === 0 && !this.#turnIsOver()) return this.#listener(message);
    this.#waiting.push(message);
    setImmediate(() => this.#next());
  }

  /** One message an immediate: what it sets off by promises is done before the next one, as between messages of a port. */
  #next(): void {
    if (this.#waiting.length === 0) return;
    if (this.#turnIsOver()) setImmediate(() => this.#next());
    else this.#listener(this.#waiting.shift());
  }

  #turnIsOver(): boolean {
    const now = performance.now();
    if (this.#turnEndsAt === null) {
      this.#turnEndsAt = now + this.#turnMaxMs;
      // Before those of the messages that this turn leaves over.
      setImmediate(() => (this.#turnEndsAt = null));
    }
    return now >= this.#turnEndsAt;
  }
}
