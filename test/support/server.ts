// The command line as a child process, and a small client for its HTTP API.

import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TestContext } from 'node:test';

export const CLI = fileURLToPath(new URL('../../src/main/cli.js', import.meta.url));

export interface Answer {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
}

export class Server {
  readonly child: ChildProcess;
  url = '';
  stdout = '';
  stderr = '';
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  /** @param stderr a file descriptor; default: what is written there is gathered */
  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}, stderr: number | 'pipe' = 'pipe') {
    const stdio = ['pipe', 'pipe', stderr] as const;
    this.child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, ...env }, stdio: [...stdio] });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.exited = new Promise((resolve) => this.child.on('close', (code, signal) => resolve({ code, signal })));
  }

  /** Starts `cabana serve` on a free port and waits for its ready line; killed after the test if it is still there. */
  static start(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Server> {
    return Server.serve(t, ['--port', '0', ...args], env);
  }

  /** The same with these arguments alone. */
  static async serve(
    t: TestContext,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    stderr: number | 'pipe' = 'pipe',
  ): Promise<Server> {
    const server = new Server(['serve', ...args], env, stderr);
    t.after(() => server.kill());
    const ready = new Promise<string>((resolve) => {
      server.child.stdout!.on('data', () => {
        const line = /cabana ready on (http:\S+)/.exec(server.stdout);
        if (line) resolve(line[1]!);
      });
    });
    const died = server.exited.then(({ code }) => Promise.reject(new Error(`exit ${code}: ${server.stderr}`)));
    server.url = await Promise.race([ready, died]);
    died.catch(() => undefined);
    return server;
  }

  async request(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
    };
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal);
    return (await this.exited).code;
  }

  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.exited;
  }

  /** The JSON line that tells how the shutdown went. */
  get report(): Record<string, unknown> {
    const line = this.stderr.split('\n').find((text) => text.startsWith('{"signal"'));
    if (!line) throw new Error(`no report on stderr: ${this.stderr}`);
    return JSON.parse(line) as Record<string, unknown>;
  }
}
