// The demo: agents at work, a SIGTERM in the middle of it, a second start, and the proof that nothing was lost.
// Run it with `npm run demo`. It needs nothing but this project; it exits 0 if every proof holds.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ChessOutput } from '../chess/agent.js';
import type { IndexResult, QueryResult } from '../librarian/agent.js';
import { Client } from './client.js';
import { LONG, QUEUED, type Position } from './positions.js';
import { prove, proveCompleted, proveCutOff, proveHistory } from './proofs.js';
import { say, showing, tell } from './screen.js';
import { Server } from './server.js';
import { Watcher } from './watcher.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** What this project is built on: its documents and its type declarations. */
const LIBRARY = { index: join(ROOT, 'node_modules'), extensions: ['.md', '.txt', '.d.ts'] };
const QUESTION = 'terminate a worker thread';
const DEMO_MAX_MS = 90_000;

/** Thinking times. The long one is far more than the demo gives it. */
const WARM_UP_MS = 2_000;
const LONG_MS = 60_000;
const QUEUED_MS = 3_000;
const AGAIN_MS = 6_000;
/** The SIGTERM comes when the librarian has read this share of its folder. */
const CUT_AT = 0.4;

interface Sent {
  watcher: Watcher;
  runId: string;
}

/** What was under way when the server was stopped. */
interface Work {
  analyses: Sent[];
  index: Sent;
  queuedAnalyses: Sent[];
  queuedQuery: Sent;
}

class Demo {
  readonly #dataDir: string;
  #server: Server | null = null;
  #client!: Client;
  #watchers: Watcher[] = [];
  #librarian!: Watcher;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  async play(): Promise<void> {
    await this.#start();
    await this.#createSessions();
    await this.#warmUp();
    const work = await this.#beginWork();
    await this.#stop();
    await this.#start();
    await this.#checkWhatIsThere(work);
    await this.#letQueuedWorkGoOn(work);
    await this.#sendAgain(work);
    await this.#summarise();
  }

  async end(): Promise<void> {
    await this.#server?.kill();
  }

  async #start(): Promise<void> {
    this.#server = await Server.start(this.#dataDir);
    this.#client = new Client(this.#server.url);
    say(`cabana serve is up: process ${this.#server.pid}, ${this.#server.url}`);
  }

  async #createSessions(): Promise<void> {
    for (const { name } of [...LONG, ...QUEUED]) await this.#createSession('chess', name);
    this.#librarian = await this.#createSession('librarian', 'Librarian');
    say(`${this.#watchers.length} sessions: ${this.#watchers.map((watcher) => watcher.name).join(', ')}`);
  }

  async #createSession(profile: string, name: string): Promise<Watcher> {
    const watcher = new Watcher(await this.#client.create(profile, name), profile, name);
    watcher.follow(this.#client);
    this.#watchers.push(watcher);
    return watcher;
  }

  #of(position: Position): Watcher {
    return this.#watchers.find((watcher) => watcher.name === position.name)!;
  }

  async #send(watcher: Watcher, input: unknown): Promise<Sent> {
    return { watcher, runId: await this.#client.send(watcher.id, input) };
  }

  /** Waits for all of them, showing them at work. */
  async #finish<Output>(sent: readonly Sent[]): Promise<Output[]> {
    const outputs = sent.map(({ watcher, runId }) => proveCompleted<Output>(this.#client, watcher, runId));
    return showing(this.#watchers, Promise.all(outputs));
  }

  /** Everybody has something in the history and in the state before the interesting part. */
  async #warmUp(): Promise<void> {
    say('a first look at each position; the librarian reads docs/');
    const sent: Sent[] = [await this.#send(this.#librarian, { index: join(ROOT, 'docs') })];
    for (const position of [...LONG, ...QUEUED]) {
      sent.push(await this.#send(this.#of(position), { fen: position.fen, ms: WARM_UP_MS }));
    }
    await this.#finish(sent);
  }

  /** Three long runs, one a thread, and three more that have to wait for one. Returns in the middle of it. */
  async #beginWork(): Promise<Work> {
    say('the librarian reads node_modules/, two long analyses run, three runs wait for a thread');
    const index = await this.#send(this.#librarian, LIBRARY);
    const analyses: Sent[] = [];
    for (const { name, fen } of LONG) analyses.push(await this.#send(this.#of({ name, fen }), { fen, ms: LONG_MS }));
    const queuedAnalyses: Sent[] = [];
    for (const { name, fen } of QUEUED) {
      queuedAnalyses.push(await this.#send(this.#of({ name, fen }), { fen, ms: QUEUED_MS }));
    }
    const queuedQuery = await this.#send(this.#librarian, { query: QUESTION, limit: 3 });
    await showing(this.#watchers, this.#untilInTheMiddle(index, analyses));
    return { analyses, index, queuedAnalyses, queuedQuery };
  }

  async #untilInTheMiddle(index: Sent, analyses: readonly Sent[]): Promise<void> {
    const busy = [index, ...analyses].map(({ watcher }) => watcher);
    for (;;) {
      const run = await this.#client.run(index.watcher.id, index.runId);
      prove(run.state === 'queued' || run.state === 'running', `the index run is over too soon: it reads ${run.state}`);
      const analysing = busy.every((watcher) => watcher.running && watcher.progress > 0);
      if (analysing && this.#librarian.progress >= CUT_AT) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #stop(): Promise<void> {
    say('SIGTERM');
    const { code, report, line } = await this.#server!.terminate();
    await Promise.all(this.#watchers.map((watcher) => watcher.ended));
    tell(line);
    say(`the process has ended with exit code ${code}`);
    prove(code === 0, `the exit code is ${code}, not 0`);
    prove(report.flushed === report.live && report.live > 0, `${report.flushed} of ${report.live} agents were flushed`);
    prove(report.interrupted === 3, `${report.interrupted} runs were cut off, not 3`);
  }

  async #checkWhatIsThere({ analyses, index }: Work): Promise<void> {
    let entries = 0;
    const cutOff = [...analyses, index];
    for (const watcher of this.#watchers) {
      const history = await proveHistory(this.#client, watcher, watcher.seen);
      entries += watcher.seen.size;
      for (const sent of cutOff.filter((each) => each.watcher === watcher)) {
        await proveCutOff(this.#client, watcher, sent.runId, history);
      }
    }
    prove(entries > this.#watchers.length * 3, `only ${entries} entries were seen before the SIGTERM`);
    say(`all ${entries} entries seen before are there, as they were; no seq is missing`);
    say(`the ${cutOff.length} runs that were cut off read interrupted`);
    for (const watcher of this.#watchers) watcher.follow(this.#client);
  }

  async #letQueuedWorkGoOn({ queuedAnalyses, queuedQuery }: Work): Promise<void> {
    say('the runs that were waiting start by themselves');
    const moves = await this.#finish<ChessOutput>(queuedAnalyses);
    moves.forEach((move, i) => tell(`${queuedAnalyses[i]!.watcher.name}: ${best(move)}`));
    const [answer] = await this.#finish<QueryResult>([queuedQuery]);
    prove(answer!.total > 0, 'the restored index, as far as it had come, has no answer');
    tell(`Librarian, from as much of the index as it had: ${answer!.total} passages about "${QUESTION}"`);
  }

  async #sendAgain({ analyses }: Work): Promise<void> {
    say('what was cut off is sent again');
    const index = await this.#send(this.#librarian, LIBRARY);
    const again: Sent[] = [];
    for (const [i, { watcher }] of analyses.entries()) {
      again.push(await this.#send(watcher, { fen: LONG[i]!.fen, ms: AGAIN_MS }));
    }
    const [moves, [indexed]] = await Promise.all([
      this.#finish<ChessOutput>(again),
      proveCompleted<IndexResult>(this.#client, this.#librarian, index.runId).then((result) => [result] as const),
    ]);
    moves.forEach((move, i) => tell(`${again[i]!.watcher.name}: ${best(move)}`));
    const { kept, indexed: read, passages } = indexed;
    prove(kept > 0, 'the index that was flushed was not restored: every file was read again');
    tell(`Librarian: ${kept} files were in the restored index, ${read} were still to be read; ${passages} passages`);
    const [answer] = await this.#finish<QueryResult>([
      await this.#send(this.#librarian, { query: QUESTION, limit: 1 }),
    ]);
    const [hit] = answer!.hits;
    prove(hit !== undefined, 'the librarian has no answer');
    tell(`Librarian: "${QUESTION}": ${relative(ROOT, hit.file)}:${hit.line} (${hit.heading || 'no heading'})`);
  }

  async #summarise(): Promise<void> {
    let entries = 0;
    for (const watcher of this.#watchers) {
      entries += (await proveHistory(this.#client, watcher, watcher.seen)).length;
    }
    const { code } = await this.#server!.terminate();
    prove(code === 0, `the second exit code is ${code}, not 0`);
    say('proved:');
    tell('- every entry that a client had seen before the SIGTERM was there after it, and seq has no gaps');
    tell('- runs in progress read interrupted; waiting runs started by themselves and were completed');
    tell("- the agents' state came back: the librarian went on from the files it had");
    tell(`- both processes ended with exit code 0; the histories hold ${entries} entries`);
  }
}

function best({ san, score, mate, depth, nodes }: ChessOutput): string {
  const worth = mate === null ? `${score < 0 ? '-' : '+'}${(Math.abs(score) / 100).toFixed(2)}` : `mate in ${mate}`;
  return `best is ${san} (${worth}), depth ${depth}, ${nodes.toLocaleString('en')} nodes`;
}

const dataDir = await mkdtemp(join(tmpdir(), 'cabana-demo-'));
const demo = new Demo(dataDir);
const cleanUp = async (): Promise<void> => {
  await demo.end();
  await rm(dataDir, { recursive: true, force: true });
};
const interrupted = new Promise<never>((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
  }
  setTimeout(() => reject(new Error(`not done after ${DEMO_MAX_MS} ms`)), DEMO_MAX_MS).unref();
});
let exitCode = 0;
try {
  await Promise.race([demo.play(), interrupted]);
} catch (error) {
  exitCode = 1;
  process.stderr.write(`\ndemo failed: ${error instanceof Error ? error.message : String(error)}\n`);
} finally {
  await cleanUp();
}
process.exit(exitCode);
