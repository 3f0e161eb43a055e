// Hosts with the agents of these tests, and what the tests say about runs and histories.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { CabanaError, type Host, type HostOptions, type RunHandle, type RunInfo } from '../../src/main/index.js';
import type { Act, ActAnswer } from '../agents/supervision-act.js';
import { launch, launchWithClock, type SleepyClock } from '../main/launch.js';
import { testAgent, until } from '../support/host.js';
import { tempDir } from '../support/temp.js';

const KINDS = ['cpu', 'io', 'retry', 'flush', 'timeout', 'resume', 'restorer', 'compact', 'ballast', 'writer', 'flood'];
const agents = KINDS.map((kind) => testAgent(`supervision-${kind}`));

/** In a house of the impatient, runs may ignore their interrupt for so long. */
export const GRACE_MS = 1_000;
/**
 * Who has its answer by then did not wait for a stuck agent, which lasts three times as long (DEAF_MAX_MS of the agents).
 * No measure of speed: that is the benchmarks' task.
 */
export const ANSWER_MAX_MS = 20_000;

export function house(t: TestContext, options: Partial<HostOptions> = {}): Promise<Host> {
  return launch(t, { agents: [...agents, testAgent('unsaveable')], ...options });
}

export function impatientHouse(t: TestContext, options: Partial<HostOptions> = {}): Promise<Host> {
  return house(t, { interruptGraceMs: GRACE_MS, ...options });
}

export function houseWithClock(
  t: TestContext,
  options: Partial<HostOptions> = {},
): Promise<{ host: Host; clock: SleepyClock }> {
  return launchWithClock(t, { agents: [...agents, testAgent('unsaveable')], ...options });
}

/** Sessions named after their kinds, or by a number behind it: 'cpu', 'io2'. */
export async function inhabit(host: Host, ...ids: string[]): Promise<void> {
  for (const sessionId of ids) {
    const kind = sessionId.replace(/[0-9]+$/, '');
    await host.create({ sessionId, agentProfile: `supervision-${kind}` });
  }
}

/** A session that is not in memory, and comes up as `params` tell it; 'io' is in memory. The host keeps one idle agent. */
export async function restorerOnDisk(host: Host, sessionId: string, params: Record<string, string>): Promise<void> {
  await host.create({ sessionId, agentProfile: 'supervision-restorer', params });
  await complete(host, sessionId);
  await inhabit(host, 'io');
  await complete(host, 'io');
  await leave(host, sessionId);
}

/** These have left memory: by this eviction, or by that of the host's own timer. */
export async function leave(host: Host, ...ids: string[]): Promise<void> {
  await host.registry.evictExcessIdle();
  await until(`${ids.join()} left memory`, () => !ids.some((id) => host.registry.exists(id)));
}

/** Has the session stay in memory: the host's own timer leaves alone what is watched. @returns what ends that */
export function watch(t: TestContext, host: Host, id: string): () => Promise<unknown> {
  const stream = host.subscribe(id);
  const end = (): Promise<unknown> => stream.return();
  t.after(end);
  return end;
}

/** A file that a test makes when an agent may go on. */
export function gate(t: TestContext): { path: string; open: () => void } {
  const path = join(tempDir(t), randomUUID());
  const open = (): void => writeFileSync(path, '');
  // Whatever the test comes to, nothing is left spinning.
  t.after(() => existsSync(dirname(path)) && open());
  return { path, open };
}

/** A run that counts `count` times and then holds its thread until it is let go; resolves when it holds it. */
export async function occupy(
  t: TestContext,
  host: Host,
  id: string,
  { count = 0, deaf = false }: Pick<Act, 'count' | 'deaf'> = {},
): Promise<{ run: RunHandle; letGo: () => void }> {
  const { path, open } = gate(t);
  const last = (await host.messages(id, { limit: 1 }))!.messages[0];
  const before = last ? (last['seq'] as number) : 0;
  const run = host.send(id, { count, how: 'spin', deaf, until: path });
  // Its input and what it counts come before the loop.
  await until(`${id} holds its thread`, () => isRunning(host, id) && hasCounted(host, id, before + 1 + count));
  return { run, letGo: open };
}

/** How a run ends that does not mind its interrupt. */
export const UNRESPONSIVE = ['interrupted', 'AGENT_UNRESPONSIVE'];

/** How a run ended: its state and code; 'refused' and why, if it never came to be. */
export async function ended(host: Host, id: string, input: Act): Promise<[string, string | null]> {
  try {
    return outcome(await host.send(id, input).result);
  } catch (error) {
    if (!(error instanceof CabanaError)) throw error;
    return ['refused', error.code];
  }
}

export function outcome(info: RunInfo): [string, string | null] {
  return [info.state, info.code];
}

/** Runs to its end, which must be a good one. */
export async function complete<T = ActAnswer>(host: Host, id: string, input: unknown = {}): Promise<T> {
  const info = await host.send(id, input).result;
  assert.deepEqual([info.state, info.code, info.error], ['completed', null, null], id);
  return info.output as T;
}

/** The counts in a session's history, whose numbers must be 1, 2, 3 and so on. */
export async function counts(host: Host, id: string): Promise<number[]> {
  const entries: Record<string, unknown>[] = [];
  for (let before: number | undefined; ;) {
    const page = await host.messages(id, { limit: 1_000, ...(before === undefined ? {} : { before }) });
    entries.unshift(...page!.messages);
    if (!page!.hasMore) break;
    before = page!.messages[0]!['seq'] as number;
  }
  assert.deepEqual(
    entries.map((entry) => entry['seq']),
    entries.map((_, i) => i + 1),
    `the numbers of ${id}'s history`,
  );
  return entries.filter((entry) => entry['role'] === 'assistant').map((entry) => entry['n'] as number);
}

/** Resolves to what the promise does, and in how many milliseconds. */
export async function timed<T>(promise: Promise<T>): Promise<{ value: T; ms: number }> {
  const startedAt = performance.now();
  const value = await promise;
  return { value, ms: performance.now() - startedAt };
}

export function isRunning(host: Host, id: string): boolean {
  return host.registry.get(id)?.state === 'running';
}

/** Whether the run has got as far as n counts. */
export function hasCounted(host: Host, id: string, entries: number): boolean {
  return (host.registry.sessionSummary(id)?.durableSeq ?? 0) >= entries;
}
