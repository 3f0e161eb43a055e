// A run's outcome as an entry of the history: one shape, whoever ends the run (its thread, main, or the next start).

import type { JournalEntry, RunState } from './session.js';

/** `{role: 'run', run_id, state}`, with `error` and `code` unless it completed. The output is kept with the run. */
export function outcomeEntry(
  runId: string,
  outcome: { state: RunState; error: string | null; code: string | null },
): JournalEntry {
  const entry: JournalEntry = { role: 'run', run_id: runId, state: outcome.state };
  if (outcome.error !== null) entry['error'] = outcome.error;
  if (outcome.code !== null) entry['code'] = outcome.code;
  return entry;
}

/** A run's input as an entry of the history. */
export function inputEntry(input: unknown): JournalEntry {
  return { role: 'user', content: input };
}
