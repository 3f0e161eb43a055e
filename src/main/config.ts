// What a host is configured with: defaults, checks, and the files that an --agents argument stands for.

import { readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { CabanaError, messageOf } from '../protocol/errors.js';
import {
  COMPACT_AFTER_DEFAULT_MS,
  DRAIN_DEFAULT_MS,
  FLUSH_DEADLINE_DEFAULT_MS,
  IDLE_DEFAULT_AGENTS,
  INTERRUPT_GRACE_DEFAULT_MS,
  OPTION_MAX_MS,
  RESTORE_DEFAULT_SESSIONS,
  RUNNING_DEFAULT_AGENTS,
  TABLE_MAX_ROWS,
  THREADS_MAX_THREADS,
} from '../protocol/limits.js';
import { systemClock, type Clock } from './clock.js';
import { LOG_LEVELS, createLog, harmless, type Log, type LogLevel } from './log.js';

export interface HostOptions {
  /** Agent modules: files, or folders (every .js and .mjs in it, and every agent.js or agent.mjs one folder below). */
  agents: string | readonly string[];
  /** Folder of the database; made if it is not there. */
  dataDir: string;
  /** Agent threads. Default: the available cores. */
  threads?: number;
  /** Agents that run at the same time at most. Default 256. */
  maxRunningAgents?: number;
  /** Idle agents kept in memory at most. Default 10,000. */
  maxIdleAgents?: number;
  /** Milliseconds that runs may go on at a shutdown before they are interrupted. Default 5,000. */
  drainMs?: number;
  /** Milliseconds that flushing may take at a shutdown. Default 10,000. */
  flushDeadlineMs?: number;
  /** Milliseconds that a run may ignore its interrupt before its thread is given up. Default 2,000. */
  interruptGraceMs?: number;
  /** Milliseconds of idleness after which an agent with a compact hook is compacted. Default 180,000. */
  compactAfterMs?: number;
  /** Newest sessions of each source that are brought up at start. Default 5. */
  restoreSessions?: number;
  /** 0 to 19: how far agent threads step back behind the main thread on a busy core (Linux). Default 19. */
  niceIncrement?: number;
  /** Megabytes of heap of an agent thread. Default: Node's. */
  threadHeapMb?: number | null;
  /** Default 'warn'. */
  logLevel?: LogLevel;
  log?: Log;
  clock?: Clock;
}

export type HostConfig = Required<Omit<HostOptions, 'logLevel' | 'agents'>> & { agents: readonly string[] };

/** All of them: one that is misspelled would be left out without a word. */
const OPTIONS: Record<keyof HostOptions, true> = {
  agents: true,
  dataDir: true,
  threads: true,
  maxRunningAgents: true,
  maxIdleAgents: true,
  drainMs: true,
  flushDeadlineMs: true,
  interruptGraceMs: true,
  compactAfterMs: true,
  restoreSessions: true,
  niceIncrement: true,
  threadHeapMb: true,
  logLevel: true,
  log: true,
  clock: true,
};

/** @throws CabanaError CONFIG_INVALID, AGENT_MODULE_INVALID */
export function checkOptions(options: HostOptions): HostConfig {
  if (typeof options !== 'object' || options === null) refuse('createHost takes an object with agents and dataDir');
  for (const name of Object.keys(options)) if (!Object.hasOwn(OPTIONS, name)) refuse(`there is no option ${name}`);
  const logLevel = options.logLevel ?? 'warn';
  if (!LOG_LEVELS.includes(logLevel)) refuse(`logLevel is one of ${LOG_LEVELS.join(', ')}`);
  if (typeof options.dataDir !== 'string' || options.dataDir === '') refuse('dataDir is a folder');
  const count = (name: keyof HostOptions, fallback: number, min: number, max: number): number => {
    const value = (options[name] ?? fallback) as number;
    if (!Number.isInteger(value) || value < min || value > max)
      refuse(`${name} is a whole number from ${min} to ${max}`);
    return value;
  };
  const agents = typeof options.agents === 'string' ? [options.agents] : options.agents;
  if (!Array.isArray(agents) || agents.length === 0) refuse('agents names at least one file or folder');
  if (agents.includes('')) refuse('agents has an empty name');
  if (!agents.every((path) => typeof path === 'string')) refuse('agents are paths: a text, or a list of texts');
  assertMethods('log', options.log, ['fatal', 'error', 'warn', 'info', 'debug']);
  assertMethods('clock', options.clock, ['now', 'after', 'every']);
  return {
    agents: agentFiles(agents),
    dataDir: resolve(options.dataDir),
    threads: count('threads', Math.min(availableParallelism(), THREADS_MAX_THREADS), 1, THREADS_MAX_THREADS),
    maxRunningAgents: count('maxRunningAgents', RUNNING_DEFAULT_AGENTS, 1, TABLE_MAX_ROWS),
    maxIdleAgents: count('maxIdleAgents', IDLE_DEFAULT_AGENTS, 0, TABLE_MAX_ROWS),
    drainMs: count('drainMs', DRAIN_DEFAULT_MS, 0, OPTION_MAX_MS),
    flushDeadlineMs: count('flushDeadlineMs', FLUSH_DEADLINE_DEFAULT_MS, 0, OPTION_MAX_MS),
    interruptGraceMs: count('interruptGraceMs', INTERRUPT_GRACE_DEFAULT_MS, 0, OPTION_MAX_MS),
    compactAfterMs: count('compactAfterMs', COMPACT_AFTER_DEFAULT_MS, 0, OPTION_MAX_MS),
    restoreSessions: count('restoreSessions', RESTORE_DEFAULT_SESSIONS, 0, TABLE_MAX_ROWS),
    niceIncrement: count('niceIncrement', 19, 0, 19),
    threadHeapMb:
      options.threadHeapMb === undefined || options.threadHeapMb === null
        ? null
        : count('threadHeapMb', 0, 16, 1024 * 1024),
    log: options.log ? harmless(options.log) : createLog(logLevel),
    clock: options.clock ?? systemClock,
  };
}

const MODULE = /\.m?js$/;

/**
 * The module files that files and folders stand for, in a stable order, each once.
 * @throws CabanaError AGENT_MODULE_INVALID: one cannot be read, or has none
 */
export function agentFiles(paths: readonly string[]): string[] {
  const files = new Set<string>();
  for (const path of paths) {
    const found = modulesAt(resolve(path));
    if (found.length === 0) {
      throw new CabanaError(
        'AGENT_MODULE_INVALID',
        `no agents in ${path}: no .js or .mjs file, no agent.js one folder below`,
      );
    }
    for (const file of found) files.add(file);
  }
  return [...files];
}

function modulesAt(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const entries = readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    return entries.flatMap((entry) => {
      const full = join(path, entry.name);
      // By what it is, not by what the entry says: a folder of agents may hold links to them.
      if (!statSync(full).isDirectory()) return MODULE.test(entry.name) ? [full] : [];
      return readdirSync(full)
        .filter((name) => name === 'agent.js' || name === 'agent.mjs')
        .map((name) => join(full, name));
    });
  } catch (error) {
    throw new CabanaError('AGENT_MODULE_INVALID', `cannot read the agents at ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function assertMethods(name: 'log' | 'clock', value: unknown, methods: readonly string[]): void {
  if (value === undefined || value === null) return;
  const given = value as Record<string, unknown>;
  if (!methods.every((method) => typeof given[method] === 'function'))
    refuse(`${name} has the methods ${methods.join(', ')}`);
}

function refuse(what: string): never {
  throw new CabanaError('CONFIG_INVALID', what);
}
