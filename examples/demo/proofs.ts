// What the demo claims, checked. Each check throws an error that says what does not hold.

import { isDeepStrictEqual } from 'node:util';
import type { Client, Entry, Run } from './client.js';
import type { Watcher } from './watcher.js';

export class ProofFailed extends Error {}

export function prove(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new ProofFailed(otherwise);
}

/**
 * Every entry that the session's stream had shown is in the history, as it was shown, and the history has no gaps.
 * @returns the history
 */
export async function proveHistory(client: Client, watcher: Watcher, seen: ReadonlyMap<number, Entry>) {
  const history = await client.history(watcher.id);
  history.forEach((entry, i) => {
    prove(entry.seq === i + 1, `${watcher.name}: entry ${i + 1} has seq ${entry.seq}`);
  });
  for (const [seq, entry] of seen) {
    const kept = history[seq - 1];
    prove(kept !== undefined, `${watcher.name}: entry ${seq} was seen before the SIGTERM and is gone`);
    prove(isDeepStrictEqual(kept, entry), `${watcher.name}: entry ${seq} is not what it was before the SIGTERM`);
  }
  return history;
}

/** The run was cut off: it reads so, and its outcome is in the history. */
export async function proveCutOff(client: Client, watcher: Watcher, runId: string, history: readonly Entry[]) {
  const run = await client.run(watcher.id, runId);
  prove(run.state === 'interrupted', `${watcher.name}: the run that was cut off reads ${run.state}`);
  const outcome = history.find((entry) => entry.role === 'run' && entry['run_id'] === runId);
  prove(outcome?.['state'] === 'interrupted', `${watcher.name}: the history does not tell that the run was cut off`);
}

/** Waits for the run, which is to be completed. @returns its output */
export async function proveCompleted<Output>(client: Client, watcher: Watcher, runId: string): Promise<Output> {
  const run: Run = await client.run(watcher.id, runId, 60_000);
  prove(run.state === 'completed', `${watcher.name}: run ${runId} reads ${run.state} (${run.error ?? 'no error'})`);
  return run.output as Output;
}
