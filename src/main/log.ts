// The host's log: pino, to stderr; stdout belongs to the command line's own lines.

import type { Writable } from 'node:stream';
import { pino } from 'pino';
import { LOG_UNWRITTEN_MAX_BYTES } from '../protocol/limits.js';

/** What a host needs of a log: pino's has it, and that of many others. */
export type Log = Record<'fatal' | 'error' | 'warn' | 'info' | 'debug', (fields: object, message: string) => void>;
export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function createLog(level: LogLevel): Log {
  // Synchronous: what is said right before the process exits must not be lost.
  const destination = pino.destination({ dest: 2, sync: true, maxLength: LOG_UNWRITTEN_MAX_BYTES });
  // A log that cannot be written (its disk is full, its reader has gone) must not end the host. What fits is kept, and
  // written with the next line for which there is room.
  destination.on('error', () => undefined);
  return pino({ level, base: { pid: process.pid } }, destination);
}

/** A log of which nothing that it throws gets in the way of what is being logged. */
export function harmless(log: Log): Log {
  const tell =
    (level: keyof Log): Log['info'] =>
    (fields, message) => {
      try {
        log[level](fields, message);
      } catch {
        // There is nowhere to say it.
      }
    };
  return { fatal: tell('fatal'), error: tell('error'), warn: tell('warn'), info: tell('info'), debug: tell('debug') };
}

/**
 * Makes a stream of this process drop what it cannot write, instead of ending the process by an 'error' that nobody
 * handles: agents of all threads write to it with console.log. Handling the event would not do, for with it Node stops
 * passing on what the threads write, and they would gather it.
 */
export function dropUnwritable(stream: Writable): void {
  const write = stream._write.bind(stream);
  stream._write = (chunk, encoding, done) => write(chunk, encoding, () => done());
  const writev = stream._writev?.bind(stream);
  if (writev) stream._writev = (chunks, done) => writev(chunks, () => done());
}

/** The host's own fields of a line. */
const OWN_FIELDS = new Set(['level', 'time', 'pid', 'msg', 'sessionId']);

/** The fields of an agent's line: its own cannot take the place of the host's, and get an underscore then. */
export function agentFields(sessionId: string, fields: Record<string, unknown> | null): Record<string, unknown> {
  const all: Record<string, unknown> = { sessionId };
  for (const [name, value] of Object.entries(fields ?? {})) all[OWN_FIELDS.has(name) ? `${name}_` : name] = value;
  return all;
}
