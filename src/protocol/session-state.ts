// The names of a session's states and the numbers they have in the status table.
// Which state may follow which is main's business: registry/sessions/state.ts.

export const SESSION_STATES = ['cold', 'restoring', 'idle', 'running', 'interrupting', 'flushing', 'failed'] as const;

/** What each state means: main/registry/sessions/state.ts. */
export type SessionState = (typeof SESSION_STATES)[number];

export function stateNumber(state: SessionState): number {
  return SESSION_STATES.indexOf(state);
}

export function stateFromNumber(n: number): SessionState {
  const state = SESSION_STATES[n];
  if (state === undefined) throw new RangeError(`no session state has number ${n}`);
  return state;
}
