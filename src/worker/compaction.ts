// A definition's compact(), from its call to what is journaled of it. If it does not come to its end, it is undone, in
// memory and for the next activation.

import { decodeState, packEntry } from '../protocol/codec.js';
import { CabanaError, messageOf } from '../protocol/errors.js';
import { HOOK_MAX_MS } from '../protocol/limits.js';
import type { AgentDefinition } from './agent.js';
import type { Context, RunScope } from './context.js';
import { inTime } from './deadline.js';
import { outcomeOfThrow, type Outcome } from './execution.js';
import type { History } from './history.js';
import type { Snapshots } from './snapshots.js';
import type { StatusWriter } from './status-writer.js';

export interface CompactionParts {
  definition: AgentDefinition;
  ctx: Context;
  history: History;
  status: StatusWriter;
  snapshots: Snapshots;
  /** It could not be undone: the activation is not to be used any more. The state from before is on its way to the disk. */
  onSpoilt(error: CabanaError, savedBefore: Promise<void>): void;
}

/**
 * @returns whether it completed
 * @throws CabanaError RESTORE_FAILED: it could not be undone; SAVE_FAILED, before it or after
 */
export async function compact(parts: CompactionParts, scope: RunScope): Promise<boolean> {
  const { definition, ctx, history, status, snapshots } = parts;
  const before = await snapshots.take((body) => body);
  ctx.scope(scope);
  let outcome: Outcome = { state: 'completed', output: null, error: null, code: null };
  try {
    scope.interrupt.check();
    await definition.compact?.(ctx);
  } catch (error) {
    outcome = outcomeOfThrow(error, scope.interrupt);
  }
  ctx.scope(null);
  status.clearProgress();
  const completed = outcome.state === 'completed';
  const spoilt = completed ? null : await rollBack(parts, before);
  const { state, error } = outcome;
  await history.appendOwn(packEntry({ role: 'compaction', state, ...(error ? { error } : {}) }));
  if (spoilt) throw spoilt;
  if (completed) await snapshots.take((body) => snapshots.post(body));
  // Behind what it had appended, which would be in the tail of an older snapshot. A copy: the state may be views of it.
  else snapshots.post(before.slice());
  return completed;
}

/** @returns why the state from before is not back */
async function rollBack(parts: CompactionParts, before: Uint8Array): Promise<CabanaError | null> {
  const { definition, ctx, snapshots } = parts;
  try {
    const state = decodeState(before);
    const restored = definition.restore ? definition.restore(ctx, state, []) : state;
    ctx.state = await inTime(Promise.resolve(restored), HOOK_MAX_MS, 'RESTORE_FAILED', 'restore');
    return null;
  } catch (error) {
    const what = `a compaction of session ${ctx.sessionId} could not be undone: ${messageOf(error)}`;
    const spoilt = new CabanaError('RESTORE_FAILED', what, { cause: error });
    // The state in memory is half compacted. Save the one from before, so that the next activation starts from it.
    const savedBefore = snapshots.keep(before);
    // A refusal is told to whoever flushes the agent. If nobody does, the next activation starts from the snapshot before.
    savedBefore.catch(() => undefined);
    parts.onSpoilt(spoilt, savedBefore);
    return spoilt;
  }
}
