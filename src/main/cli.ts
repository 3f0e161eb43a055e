#!/usr/bin/env node
// The command line: `cabana serve`. Flags and environment to options, signals to a shutdown, outcomes to exit codes.

import { createRequire } from 'node:module';
import { delimiter } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { FastifyInstance } from 'fastify';
import { messageOf } from '../protocol/errors.js';
import {
  COMPACT_AFTER_DEFAULT_MS,
  DRAIN_DEFAULT_MS,
  FLUSH_DEADLINE_DEFAULT_MS,
  IDLE_DEFAULT_AGENTS,
  INTERRUPT_GRACE_DEFAULT_MS,
  RUNNING_DEFAULT_AGENTS,
  START_AFTER_SIGNAL_MS,
} from '../protocol/limits.js';
import type { HostOptions } from './config.js';
import { defined } from './defined.js';
import { createHost, type Host } from './host.js';
import { LOG_LEVELS, dropUnwritable, type LogLevel } from './log.js';
import { endThreads } from './pool/end-threads.js';
import type { FlushBar } from './server/progress-bar.js';

/** Exit codes; a second signal ends with 128 + its number. */
const EXIT = { flushed: 0, crash: 1, usage: 2, deadline: 3, storage: 74 } as const;
const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;
type Signal = keyof typeof SIGNALS;
const PORT_MAX = 65_535;

interface ServeFlags {
  agents: string[];
  data: string;
  host: string;
  port: number;
  threads?: number;
  maxRunning?: number;
  maxIdle?: number;
  drainMs?: number;
  flushDeadlineMs?: number;
  threadHeapMb?: number;
  interruptGraceMs?: number;
  compactAfterMs?: number;
  logLevel: LogLevel;
}

async function serve(flags: ServeFlags): Promise<void> {
  const signals = new Signals();
  const options: HostOptions = {
    agents: flags.agents,
    dataDir: flags.data,
    logLevel: flags.logLevel,
    ...defined({
      threads: flags.threads,
      maxRunningAgents: flags.maxRunning,
      maxIdleAgents: flags.maxIdle,
      drainMs: flags.drainMs,
      flushDeadlineMs: flags.flushDeadlineMs,
      threadHeapMb: flags.threadHeapMb,
      interruptGraceMs: flags.interruptGraceMs,
      compactAfterMs: flags.compactAfterMs,
    }),
  };
  const { host, server, url } = await signals.whileStarting(start(options, flags, signals));
  if (!signals.told) process.stdout.write(`cabana ready on ${url}\n`);
  const { flushBar } = await import('./server/progress-bar.js');
  const signal = await signals.first;
  exit(await shutDown(signal, host, server, flushBar(process.stderr)));
}

/** A host and its server. Runs of an earlier process begin only when the address is ours: a start that fails costs none. */
async function start(
  options: HostOptions,
  { host: hostname, port }: ServeFlags,
  signals: Signals,
): Promise<{ host: Host; server: FastifyInstance; url: string }> {
  // Loaded while the threads start: neither needs the other.
  const loading = import('./server/http.js');
  let listening!: { server: FastifyInstance; url: string };
  const host = await createHost(options, async (made) => {
    made.onFatal = (error) => {
      process.stderr.write(`cabana: ${error.message}\n`);
      exit(EXIT.storage);
    };
    const server = (await loading).createServer(made);
    listening = { server, url: await server.listen({ host: hostname, port }) };
    // Runs would begin only to be interrupted.
    if (signals.told) await made.close();
  });
  return { host, ...listening };
}

/**
 * Ends the process, within EXIT_DEADLINE_MS: process.exit() would wait for threads in blocking calls.
 * @param signal what it is killed with then
 */
function exit(code: number, signal: NodeJS.Signals = 'SIGKILL'): never {
  const blocked = endThreads();
  if (blocked > 0) {
    process.stderr.write(`cabana: ${blocked} threads are in blocking calls; killed instead of exit ${code}\n`);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }
  process.exit(code);
}

/** Says in one line how it went. @returns the exit code */
async function shutDown(signal: string, host: Host, server: FastifyInstance, bar: FlushBar): Promise<number> {
  const { live, flushed, unflushed, interrupted, ms, storageFailed } = await host.close(bar);
  bar.stop();
  await server.close();
  process.stderr.write(`${JSON.stringify({ signal, live, flushed, unflushed, interrupted, ms })}\n`);
  if (storageFailed) return EXIT.storage;
  return unflushed.length > 0 ? EXIT.deadline : EXIT.flushed;
}

/**
 * The first signal shuts down, also when it comes before everything has started; the second ends the process at once. So
 * does the first when the start does not come to its end.
 */
class Signals {
  readonly first: Promise<Signal>;
  told = false;

  constructor() {
    this.first = new Promise((resolve) => {
      for (const name of Object.keys(SIGNALS) as Signal[]) {
        process.on(name, () => {
          if (this.told) exit(128 + SIGNALS[name], name);
          this.told = true;
          resolve(name);
        });
      }
    });
  }

  /** Nobody was told of anything by then: there is nothing to lose but the start itself. */
  async whileStarting<T>(starting: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const told = this.first.then((name) => {
      if (over) return;
      timer = setTimeout(() => {
        process.stderr.write(`cabana: ${name} before it had started\n`);
        exit(128 + SIGNALS[name], name);
      }, START_AFTER_SIGNAL_MS);
    });
    try {
      await Promise.race([starting, told]);
      return await starting;
    } finally {
      over = true;
      clearTimeout(timer);
    }
  }
}

function program(): Command {
  const count = (text: string): number => {
    if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
    return Number(text);
  };
  // A variable that was set to nothing is a mistake. As the address to listen on it would mean all of them.
  const text = (value: string): string => {
    if (value === '') throw new InvalidArgumentError('It must not be empty.');
    return value;
  };
  const port = (value: string): number => {
    if (count(value) <= PORT_MAX) return Number(value);
    throw new InvalidArgumentError(`It must be a port, 0 to ${PORT_MAX}.`);
  };
  const flag = (flags: string, description: string, env: string): Option => new Option(flags, description).env(env);
  const serveCommand = new Command('serve')
    .description('host agents and serve the HTTP API')
    .addOption(
      flag('--agents <path>', 'agent module, or folder of them; repeatable', 'CABANA_AGENTS')
        .argParser((path: string, paths: string[] | undefined) => [...(paths ?? []), ...path.split(delimiter)])
        .makeOptionMandatory(),
    )
    .addOption(flag('--data <dir>', 'data folder', 'CABANA_DATA').argParser(text).makeOptionMandatory())
    .addOption(flag('--host <address>', 'address to listen on', 'CABANA_HOST').argParser(text).default('127.0.0.1'))
    .addOption(flag('--port <n>', 'port to listen on; 0: a free one', 'CABANA_PORT').argParser(port).default(7070))
    .addOption(flag('--threads <n>', 'agent threads (default: the cores)', 'CABANA_THREADS').argParser(count))
    .addOption(
      flag(
        '--max-running <n>',
        `agents that run at once (default: ${RUNNING_DEFAULT_AGENTS})`,
        'CABANA_MAX_RUNNING',
      ).argParser(count),
    )
    .addOption(
      flag(
        '--max-idle <n>',
        `idle agents kept in memory (default: ${IDLE_DEFAULT_AGENTS})`,
        'CABANA_MAX_IDLE',
      ).argParser(count),
    )
    .addOption(
      flag(
        '--drain-ms <n>',
        `time for runs to finish at a shutdown (default: ${DRAIN_DEFAULT_MS})`,
        'CABANA_DRAIN_MS',
      ).argParser(count),
    )
    .addOption(
      flag(
        '--flush-deadline-ms <n>',
        `time for flushing (default: ${FLUSH_DEADLINE_DEFAULT_MS})`,
        'CABANA_FLUSH_DEADLINE_MS',
      ).argParser(count),
    )
    .addOption(
      flag('--thread-heap-mb <n>', "heap of an agent thread (default: Node's)", 'CABANA_THREAD_HEAP_MB').argParser(
        count,
      ),
    )
    .addOption(
      flag(
        '--interrupt-grace-ms <n>',
        `time to stop before a thread is given up (default: ${INTERRUPT_GRACE_DEFAULT_MS})`,
        'CABANA_INTERRUPT_GRACE_MS',
      ).argParser(count),
    )
    .addOption(
      flag(
        '--compact-after-ms <n>',
        `idleness before an agent is compacted (default: ${COMPACT_AFTER_DEFAULT_MS})`,
        'CABANA_COMPACT_AFTER_MS',
      ).argParser(count),
    )
    .addOption(
      flag('--log-level <level>', 'what goes to stderr', 'CABANA_LOG_LEVEL').choices(LOG_LEVELS).default('warn'),
    )
    .action(serve);
  const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string };
  return new Command('cabana')
    .description('Hosts long-lived, stateful, CPU-heavy agents')
    .version(version)
    .addCommand(serveCommand)
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
}

for (const stream of [process.stdout, process.stderr]) dropUnwritable(stream);
process.on('uncaughtException', (error) => {
  process.stderr.write(`cabana: ${error.stack ?? String(error)}\n`);
  exit(EXIT.crash);
});

const cli = program();
for (const command of cli.commands) command.exitOverride().configureOutput({ outputError: () => undefined });
try {
  await cli.parseAsync();
} catch (error) {
  if (error instanceof CommanderError && error.exitCode === 0) process.exit(0);
  // Without a command: commander has printed the usage.
  if (error instanceof CommanderError && error.code === 'commander.help') exit(EXIT.usage);
  const message = messageOf(error)
    .replace(/^error: /, '')
    .split('\n', 1)[0];
  process.stderr.write(`cabana: ${message}\n`);
  exit(EXIT.usage);
}
