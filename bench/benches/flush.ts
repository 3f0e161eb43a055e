// flush: from SIGTERM to the exit of a host whose every agent has 16 KB that are nowhere but in memory.

import { fork } from 'node:child_process';
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Sqlite from 'better-sqlite3';
import { decodeState } from '../../src/protocol/codec.js';
import { bytesOf, sha256, type Kept, type KeptState } from '../agents/keeper.js';
import { countSyncs } from '../durability.js';
import { timed, type Bench, type BenchRun } from '../harness.js';
import { benchAgent, owned, startHost, tempDir } from '../support.js';
import type { FlushOptions } from './flush-host.js';

const STATE_BYTES = 16 * 1024;
const STATES_A_CHUNK = 64;
/** The disk wobbles; but what writes the same bytes, and more, is not quicker than the bytes. */
const LEAST_RATIO = 0.7;
/** Agents that are brought up again, to be asked what they have. */
const ASKED = 20;

const HOST = fileURLToPath(new URL('./flush-host.js', import.meta.url));

export const flush: Bench = {
  name: 'flush',
  question: 'How long is it from SIGTERM to the exit, with every agent to be saved, and is anything lost?',
  async run(b: BenchRun) {
    const sizes = b.smoke ? [20] : [100, 1_000, 10_000];
    const rounds = new Map<number, number[]>();
    const ours: { x: number; y: number }[] = [];
    const file: { x: number; y: number }[] = [];
    for (const agents of sizes) {
      const { result, saved } = await atSize(b, { agents, hasTarget: agents === sizes.at(-1) });
      b.check(saved === agents, `${saved} agents were saved, instead of ${agents}`);
      rounds.set(
        agents,
        result.rounds.map(({ value }) => value),
      );
      ours.push({ x: agents, y: result.value });
      file.push({ x: agents, y: result.baseline! });
    }
    b.curve({
      metric: `SIGTERM to exit, ${STATE_BYTES / 1024} KB unsaved an agent`,
      xUnit: 'live agents',
      unit: 'ms',
      series: [
        { name: 'Cabana', points: ours },
        { name: 'the same bytes written to one file and synced', points: file },
      ],
    });
    const [before, last] = [...rounds].slice(-2);
    if (!before || !last) return;
    b.recordValues(
      {
        metric: `time an agent with ${last[0].toLocaleString('en-US')}, against ${before[0].toLocaleString('en-US')}`,
        unit: 'x',
        target: { of: 'value', is: 'at most', limit: 1 },
      },
      last[1].map((ms, i) => ms / last[0] / (before[1][i]! / before[0])),
    );
  },
};

async function atSize(b: BenchRun, { agents, hasTarget }: { agents: number; hasTarget: boolean }) {
  const file = join(tempDir(b), 'states');
  const ids = Array.from({ length: agents }, (_, k) => `flush-${k}`);
  const chunks = statesOf(ids);
  let saved = 0;
  const result = await b.compare(
    {
      metric: `SIGTERM to exit, ${agents.toLocaleString('en-US')} live agents of ${STATE_BYTES / 1024} KB`,
      unit: 'ms',
      baseline: 'writing the same bytes to one file, and syncing it',
      startsAnew: true,
      ...(hasTarget ? { target: { of: 'ratio', is: 'at most', limit: 1.5 } as const } : {}),
    },
    async () => {
      const dataDir = tempDir(b);
      const ms = await endHost(b, { dataDir, agents, stateBytes: STATE_BYTES });
      saved = checkSaved(b, dataDir, ids, chunks);
      await checkRestored(b, dataDir, agents);
      rmSync(dataDir, { recursive: true });
      return ms;
    },
    async () => {
      let syncs = 0;
      const ms = await timed(() => {
        ({ syncs } = countSyncs(() => writeSynced(file, chunks)));
      });
      const { size } = statSync(file);
      b.check(size === agents * STATE_BYTES, `${size} bytes of ${agents} states are in the file`);
      b.check(syncs === 1, `the file was synced ${syncs} times`);
      rmSync(file);
      return ms;
    },
  );
  b.checkTime(result.ratio! >= LEAST_RATIO, 'all states are not on disk sooner than their bytes in one file');
  return { result, saved };
}

/** @returns milliseconds from the signal to the exit */
async function endHost(b: BenchRun, options: FlushOptions): Promise<number> {
  const child = owned(fork(HOST, [JSON.stringify(options)], { execArgv: [] }));
  // It is over by then, unless a check failed.
  b.after(() => child.kill('SIGKILL'));
  const exit = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const ready = new Promise<boolean>((resolve) => child.once('message', () => resolve(true)));
  b.check(await Promise.race([ready, exit.then(() => false)]), 'the host came up');
  const early = savedStates(options.dataDir).filter(({ state }) => state.bytes.length > 0);
  b.check(early.length === 0, `${early.length} of ${options.agents} states were on disk before the signal`);
  let code: number | null = null;
  const ms = await timed(async () => {
    child.kill('SIGTERM');
    code = await exit;
  });
  b.check(code === 0, `the host ended with ${String(code)}`);
  return ms;
}

/** The bytes of all states, in pieces that are quick to write. */
function statesOf(ids: readonly string[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < ids.length; at += STATES_A_CHUNK) {
    chunks.push(Buffer.concat(ids.slice(at, at + STATES_A_CHUNK).map((id) => bytesOf(id, STATE_BYTES))));
  }
  return chunks;
}

function writeSynced(path: string, chunks: readonly Buffer[]): void {
  const file = openSync(path, 'w');
  for (const chunk of chunks) writeSync(file, chunk);
  fsyncSync(file);
  closeSync(file);
}

/** Every agent's state is on disk, and is its own. @returns how many there are */
function checkSaved(b: BenchRun, dataDir: string, ids: readonly string[], chunks: readonly Buffer[]): number {
  const expected = new Map(
    ids.map((id, k) => {
      const at = (k % STATES_A_CHUNK) * STATE_BYTES;
      return [id, chunks[Math.floor(k / STATES_A_CHUNK)]!.subarray(at, at + STATE_BYTES)];
    }),
  );
  const saved = new Set<string>();
  for (const { id, state } of savedStates(dataDir)) {
    b.check(expected.get(id)?.equals(state.bytes) === true, `the state of ${id} is as it was`);
    saved.add(id);
  }
  b.check(saved.size === ids.length, `${saved.size} of ${ids.length} states are on disk`);
  return saved.size;
}

/** What is on disk, in the log or out of it. */
function savedStates(dataDir: string): { id: string; state: KeptState }[] {
  const db = new Sqlite(join(dataDir, 'cabana.db'), { readonly: true });
  try {
    return db
      .prepare<[], { id: string; body: Uint8Array }>('SELECT id, body FROM snapshots JOIN sessions ON key = session')
      .all()
      .map(({ id, body }) => ({ id, state: decodeState(body) as KeptState }));
  } finally {
    db.close();
  }
}

/** Some of them come up again, and say so themselves. */
async function checkRestored(b: BenchRun, dataDir: string, agents: number): Promise<void> {
  const host = await startHost(b, { agents: [benchAgent('keeper')], dataDir });
  const step = Math.max(1, Math.floor(agents / ASKED));
  for (let k = 0; k < agents; k += step) {
    const id = `flush-${k}`;
    const run = await host.send(id, {}).result;
    const kept = run.output as Kept;
    b.check(kept.sha256 === sha256(bytesOf(id, STATE_BYTES)), `${id} comes up with its state`);
  }
  await host.close();
}
