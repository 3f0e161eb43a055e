// Why a run is asked to stop: the reasons, their numbers in the status table, and what the run then ends with.

import type { ErrorCode } from './errors.js';

export const INTERRUPT_REASONS = {
  request: { number: 0, message: 'Interrupted', code: 'RUN_INTERRUPTED' },
  deleted: { number: 1, message: 'Session deleted', code: 'SESSION_DELETED' },
  draining: { number: 2, message: 'The host is shutting down', code: 'HOST_DRAINING' },
  superseded: { number: 3, message: 'Superseded by newer input', code: 'RUN_INTERRUPTED' },
  timeout: { number: 4, message: 'The run took longer than its timeout', code: 'RUN_TIMEOUT' },
} as const satisfies Record<string, { number: number; message: string; code: ErrorCode }>;

export type InterruptReason = keyof typeof INTERRUPT_REASONS;

const BY_NUMBER = Object.entries(INTERRUPT_REASONS) as [InterruptReason, { number: number }][];

export function interruptReasonFromNumber(n: number): InterruptReason {
  return BY_NUMBER.find(([, reason]) => reason.number === n)?.[0] ?? 'request';
}
