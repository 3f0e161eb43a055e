// What the agents of the supervision tests do when they are told: count, hold their thread, wait, and misbehave.
// Every count is an entry of the history and is in the state, so that the two can be compared. No act lasts longer than
// DEAF_MAX_MS: a test that fails leaves nothing behind that spins.

import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';
import { threadId } from 'node:worker_threads';
import type { AgentContext, StoredEntry } from '../../src/worker/agent.js';

export interface Act {
  /** Counts so far: one entry each. */
  count?: number;
  /** Then: hold the thread, hold it in slices (ctx.yield), or wait. */
  how?: 'spin' | 'slices' | 'wait';
  /** For so long. */
  ms?: number;
  /** And until this file is there. */
  until?: string;
  /** Without minding an interrupt. */
  deaf?: boolean;
  /** Then: take the thread down. */
  crash?: Crash;
  /** So many milliseconds after this run has ended, instead of now. */
  laterMs?: number;
  /** Then count once more. */
  after?: boolean;
  /** Then wait until all of it is on disk, even if that is refused at first: the code becomes the progress's label. */
  durable?: boolean;
}

export type Crash =
  | 'exit'
  | 'timer'
  | 'rejection'
  | 'heap'
  /** Before the run awaits anything. */
  | 'heap-now'
  | 'undefined'
  | 'null'
  | 'circle'
  | 'frozen-circle'
  | 'alien-circle'
  | 'no-prototype';

export interface ActState {
  n: number;
}

export interface ActAnswer {
  n: number;
  /** Of the incarnation of the thread. */
  threadId: number;
  /** Runs that this incarnation has begun, this one included. */
  begun: number;
  /** When it began: nanoseconds, in digits, by the one clock of all threads. */
  begunAt: string;
  resumed: boolean;
}

const DEAF_MAX_MS = 60_000;
/** Kept, so that nothing of it is collected. */
const hoard: unknown[] = [];
let begun = 0;

export function start(): ActState {
  return { n: 0 };
}

export function restore(_ctx: unknown, saved: ActState, tail: StoredEntry[]): ActState {
  const state = { ...saved };
  for (const entry of tail) if (entry.role === 'assistant') state.n = entry['n'] as number;
  return state;
}

export async function act(ctx: AgentContext<ActState>, input: Act): Promise<ActAnswer> {
  const mine = ++begun;
  const begunAt = String(process.hrtime.bigint());
  for (let i = 0; i < (input.count ?? 0); i++) countOne(ctx);
  if (input.crash === 'heap-now') fillHeap();
  if (input.how) await hold(ctx, input);
  if (input.crash) await crash(input.crash, input.laterMs);
  if (input.after) countOne(ctx);
  if (input.durable) await onDisk(ctx);
  return { n: ctx.state.n, threadId, begun: mine, begunAt, resumed: ctx.resumed };
}

function countOne(ctx: AgentContext<ActState>): void {
  ctx.state.n++;
  ctx.history.append({ role: 'assistant', n: ctx.state.n });
}

async function onDisk(ctx: AgentContext<ActState>): Promise<void> {
  for (;;) {
    try {
      return await ctx.history.durable();
    } catch (error) {
      ctx.progress(0.5, (error as { code?: string }).code);
      await pause(3, undefined, { signal: ctx.signal });
    }
  }
}

async function hold(ctx: AgentContext<ActState>, { how, ms = 0, until, deaf = false }: Act): Promise<void> {
  const startedAt = performance.now();
  const over = (): boolean => {
    const heldMs = performance.now() - startedAt;
    return heldMs > DEAF_MAX_MS || (heldMs >= ms && (until === undefined || existsSync(until)));
  };
  while (!over()) {
    if (how === 'wait') await pause(3, undefined, deaf ? {} : { signal: ctx.signal });
    else if (how === 'slices') await ctx.yield();
    else if (!deaf) ctx.checkpoint();
  }
}

async function crash(how: Crash, laterMs?: number): Promise<void> {
  const now = (): void => {
    if (how === 'exit') process.exit(7);
    if (how === 'timer') throw new Error('thrown in a timer');
    if (how === 'heap') fillHeap();
    if (how === 'rejection') hoard.push(Promise.reject(new Error('rejected by nobody')));
    else throw strange(how);
  };
  setTimeout(now, laterMs ?? 0);
  // The run does not go on beyond the crash.
  if (laterMs === undefined) await pause(DEAF_MAX_MS);
}

function fillHeap(): never {
  for (;;) hoard.push(Array.from({ length: 10_000 }, (_, i) => ({ i, hoarded: hoard.length })));
}

/** Nothing that anybody expects to be thrown. */
function strange(how: Crash): unknown {
  if (how === 'undefined') return undefined;
  if (how === 'null') return null;
  if (how === 'alien-circle') return runInNewContext('const error = new Error("alien"); error.cause = error; error');
  if (how === 'no-prototype') return Object.setPrototypeOf(new Error('no prototype'), null);
  const error = new Error('its own cause');
  error.cause = error;
  return how === 'frozen-circle' ? Object.freeze(error) : error;
}
