// An agent's state as save() gives it, encoded.

import { encodeState } from '../protocol/codec.js';
import { CabanaError, messageOf } from '../protocol/errors.js';
import { HOOK_MAX_MS, SAVE_MAX_ATTEMPTS } from '../protocol/limits.js';
import type { AgentDefinition } from './agent.js';
import type { Context } from './context.js';
import { inTime } from './deadline.js';
import type { History } from './history.js';

/**
 * Takes the state, and posts it in the same turn: an entry appended in between would count as part of a snapshot that
 * lacks it. A save that is asynchronous is taken again if the history grew while it ran.
 * @throws CabanaError SAVE_FAILED, STATE_TOO_LARGE, VALUE_NOT_ENCODABLE
 */
export async function capture<T>(
  { save }: AgentDefinition,
  ctx: Context,
  history: History,
  post: (body: Uint8Array) => T,
): Promise<T> {
  for (let attempt = 0; attempt < SAVE_MAX_ATTEMPTS; attempt++) {
    const { n } = history;
    let state: unknown;
    try {
      state = save ? save(ctx) : ctx.state;
      if (state instanceof Promise) state = await inTime(state, HOOK_MAX_MS, 'SAVE_FAILED', 'save');
    } catch (error) {
      const what = `save of session ${ctx.sessionId} threw: ${messageOf(error)}`;
      throw new CabanaError('SAVE_FAILED', what, { cause: error });
    }
    if (history.n === n) return post(encodeState(state));
  }
  throw new CabanaError('SAVE_FAILED', `the history of session ${ctx.sessionId} kept growing while it was saved`);
}
