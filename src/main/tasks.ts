// Work that nobody awaits one by one: its failures are seen, and a shutdown waits for it.

export class Tasks {
  readonly #pending = new Set<Promise<void>>();
  readonly #onFailure: (error: unknown) => void;

  /** @param onFailure is told of each failure: nobody else is, so one that is not expected must be seen there */
  constructor(onFailure: (error: unknown) => void) {
    this.#onFailure = onFailure;
  }

  track(task: Promise<unknown>): void {
    const tracked = task.then(() => undefined, this.#onFailure).finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }

  /** Resolves when there is none, those that others have begun meanwhile included. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }
}
