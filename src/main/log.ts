// The host's log: pino, to stderr; stdout belongs to the command line's own lines.

import { pino } from 'pino';

/** What a host needs of a log: pino's has it, and that of many others. */
export type Log = Record<'fatal' | 'error' | 'warn' | 'info' | 'debug', (fields: object, message: string) => void>;
export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function createLog(level: LogLevel): Log {
  // Synchronous: what is said right before the process exits must not be lost.
  return pino({ level, base: { pid: process.pid } }, pino.destination({ dest: 2, sync: true }));
}

/** The host's own fields of a line. */
const OWN_FIELDS = new Set(['level', 'time', 'pid', 'msg', 'sessionId']);

/** The fields of an agent's line: its own cannot take the place of the host's, and get an underscore then. */
export function agentFields(sessionId: string, fields: Record<string, unknown> | null): Record<string, unknown> {
  const all: Record<string, unknown> = { sessionId };
  for (const [name, value] of Object.entries(fields ?? {})) all[OWN_FIELDS.has(name) ? `${name}_` : name] = value;
  return all;
}
