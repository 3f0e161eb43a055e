// `cabana serve` as a child process: started, stopped by a signal, and killed by its id if it comes to that.

import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const COMPILED = new URL('../../', import.meta.url);
const CLI = fileURLToPath(new URL('src/main/cli.js', COMPILED));
const CHESS = fileURLToPath(new URL('examples/chess/agent.js', COMPILED));
const LIBRARIAN = fileURLToPath(new URL('examples/librarian/agent.js', COMPILED));

const START_MAX_MS = 20_000;
const STOP_MAX_MS = 30_000;

/** The line that `cabana serve` writes to stderr at its end. */
export interface FlushReport {
  signal: string;
  live: number;
  flushed: number;
  unflushed: string[];
  interrupted: number;
  ms: number;
}

export class Server {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #stderr: () => string;
  readonly #exited: Promise<number | null>;

  private constructor(url: string, child: ChildProcess, stderr: () => string, exited: Promise<number | null>) {
    this.url = url;
    this.#child = child;
    this.#stderr = stderr;
    this.#exited = exited;
  }

  /**
   * Starts a server with both example agents, on a free port.
   * @throws Error with what it wrote to stderr, if it does not become ready
   */
  static async start(dataDir: string): Promise<Server> {
    const flags = ['--agents', CHESS, '--agents', LIBRARIAN, '--data', dataDir, '--port', '0'];
    // Three threads: two analyses and the librarian at the same time, and the others have to wait. Runs get a tenth of
    // a second to finish at the SIGTERM, so that the demo sees them cut off.
    const tuning = ['--threads', '3', '--drain-ms', '100'];
    const child = spawn(process.execPath, [CLI, 'serve', ...flags, ...tuning], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const exited = new Promise<number | null>((resolve) => {
      child.once('error', () => resolve(null));
      child.once('close', (code) => resolve(code));
    });
    const url = new Promise<string>((resolve) => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
        const ready = /^cabana ready on (\S+)$/m.exec(stdout);
        if (ready) resolve(ready[1]!);
      });
    });
    const first = await Promise.race([url, exited, after(START_MAX_MS)]);
    if (typeof first === 'string') return new Server(first, child, () => stderr, exited);
    child.kill('SIGKILL');
    throw new Error(`cabana serve did not become ready: ${stderr.trim() || 'it said nothing'}`);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Sends SIGTERM and waits for the end. */
  async terminate(): Promise<{ code: number | null; report: FlushReport; line: string }> {
    this.#child.kill('SIGTERM');
    const code = await Promise.race([this.#exited, after(STOP_MAX_MS)]);
    if (code === undefined) throw new Error(`cabana serve was still there ${STOP_MAX_MS} ms after the SIGTERM`);
    const line = this.#stderr()
      .split('\n')
      .find((text) => text.startsWith('{"signal"'));
    if (line === undefined) throw new Error(`cabana serve told nothing of its flush: ${this.#stderr().trim()}`);
    return { code, report: JSON.parse(line) as FlushReport, line };
  }

  /** Ends the process if it is still there. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

function after(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());
}
