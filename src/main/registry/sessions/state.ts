// THE table of a session's life: which state may follow which. Session.moveTo() alone applies it.

import type { SessionState } from '../../../protocol/session-state.js';

/**
 * - cold: on disk only; no slot
 * - restoring: one restore in flight; every caller waits on it
 * - idle: live in a thread, nothing running
 * - running: a run is executing
 * - interrupting: asked to stop, not stopped yet
 * - flushing: being made durable to leave memory; back to idle when it cannot be saved, so that nothing is dropped
 * - failed: its thread died or was given up, its run was abandoned, or it could not be brought up; the reason is kept
 */
export const TRANSITIONS: Readonly<Record<SessionState, readonly SessionState[]>> = {
  cold: ['restoring'],
  restoring: ['idle', 'failed'],
  idle: ['running', 'flushing', 'failed'],
  running: ['idle', 'interrupting', 'failed'],
  interrupting: ['idle', 'flushing', 'failed'],
  flushing: ['cold', 'idle', 'failed'],
  failed: ['restoring', 'cold'],
};

/** @throws Error: a bug in Cabana */
export function assertTransition(from: SessionState, to: SessionState): void {
  if (!TRANSITIONS[from].includes(to)) throw new Error(`assertion failed: a ${from} session cannot become ${to}`);
}
