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

/** Does the work for every item, for so many of them at the same time; resolves when all is done, rejects with the first failure. */
export async function inFlight<T>(items: readonly T[], max: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(max, items.length) }, worker));
}
