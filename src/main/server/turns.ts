// Writing to many clients at once. What an agent appends or emits goes to each of its session's clients, and a thousand of
// them take as long as a thousand writes. Their loops go on by promises alone as long as there is something queued, and
// promises leave the event loop no turn: so after a few milliseconds the rest waits, in its order, for the next one.

export class Turns {
  readonly #turnMaxMs: number;
  /** When this turn of the event loop has had its share; null: nobody was let in yet. */
  #endsAt: number | null = null;
  /** While there is one, exactly one call of #letIn() is to come: nobody else takes any out. */
  readonly #waiting: (() => void)[] = [];

  constructor(turnMaxMs: number) {
    this.#turnMaxMs = turnMaxMs;
  }

  /** Undefined: go on at once. Else resolves in a later turn, behind those who wait already. */
  next(): Promise<void> | undefined {
    if (this.#waiting.length === 0 && !this.#isOver()) return undefined;
    return new Promise((resolve) => {
      if (this.#waiting.push(resolve) === 1) setImmediate(() => this.#letIn());
    });
  }

  #letIn(): void {
    // Its share begins before the first is let in. If others have used it up, one is let in all the same.
    this.#isOver();
    this.#waiting.shift()!();
    if (this.#waiting.length === 0) return;
    // Behind what that one does before it awaits anything.
    queueMicrotask(() => {
      if (this.#isOver()) setImmediate(() => this.#letIn());
      else this.#letIn();
    });
  }

  #isOver(): boolean {
    if (this.#endsAt === null) {
      this.#endsAt = performance.now() + this.#turnMaxMs;
      // Before those who have to wait are let in.
      setImmediate(() => (this.#endsAt = null));
    }
    return performance.now() >= this.#endsAt;
  }
}
