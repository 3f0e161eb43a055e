// Leaves something behind: a timer that talks, or throws, long after its run, and hooks that throw. What it does is told
// by `params.leaves`, or by the run's input.

import { existsSync } from 'node:fs';
import { defineAgent, type AgentContext } from '../../src/worker/agent.js';

export type Leaves = 'talk' | 'bomb' | 'stop' | 'save' | 'abort' | 'thenable' | 'hang';

/** Longer than a session takes to leave memory and another to come up in its place; short enough for a test. */
export const LATER_MS = 150;

interface State {
  n: number;
}

interface Input {
  leaves?: Leaves;
  /** A bomb goes off when this file is there. */
  fuse?: string;
}

export default defineAgent<State, Input, number>({
  profile: 'leftovers',
  load: 'io',
  saveWhen: 'flush',
  start: () => ({ n: 0 }),
  async run(ctx, { leaves, fuse }) {
    ctx.state.n++;
    if (leaves === 'talk') talk(ctx);
    if (leaves === 'bomb') setInterval(() => existsSync(fuse!) && explode(leaves), 2);
    if (leaves === 'abort') {
      ctx.signal.addEventListener('abort', () => explode(leaves));
      ctx.progress(0.5, 'listens');
      await new Promise(() => undefined);
    }
    return ctx.state.n;
  },
  save(ctx) {
    const { n } = ctx.state;
    // The watchdog ends it; without one the test does.
    if (ctx.params['leaves'] === 'hang' && n > 0) for (const until = Date.now() + 15_000; Date.now() < until;);
    if (ctx.params['leaves'] === 'save' && n > 0) return explodeMeanwhile('save');
    if (ctx.params['leaves'] !== 'thenable') return { n };
    // As other libraries' promises are: no Promise.
    return { then: (resolve: (state: State) => void) => setTimeout(() => resolve({ n })) };
  },
  async stop(ctx) {
    if (ctx.params['leaves'] === 'stop') await explodeMeanwhile('stop');
  },
});

function talk(ctx: AgentContext<State>): void {
  const talking = setInterval(() => {
    ctx.progress(0.77, 'left behind');
    ctx.report({ model: 'left behind' });
    ctx.rename('left behind');
  }, 2);
  setTimeout(() => clearInterval(talking), 10 * LATER_MS);
}

function explodeMeanwhile(what: Leaves): Promise<void> {
  setTimeout(() => explode(what));
  return new Promise((resolve) => setTimeout(resolve, 10 * LATER_MS));
}

function explode(what: Leaves): never {
  throw new Error(`thrown by ${what}`);
}
