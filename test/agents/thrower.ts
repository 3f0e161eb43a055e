// Throws what nobody would expect to be thrown. Its state counts its runs, so that it shows what a throw has cost.

import { CabanaError } from '../../src/protocol/errors.js';
import { defineAgent, type AgentContext } from '../../src/worker/agent.js';

const withField = (field: string, value: unknown): Error =>
  Object.defineProperty(new Error('replaced'), field, { value });

const withGetter = (field: string, error = new Error('has a getter')): Error =>
  Object.defineProperty(error, field, {
    get() {
      throw new Error(`nobody reads my ${field}`);
    },
  });

const refuses = (): never => {
  throw new Error('trapped');
};

/** Every trap that reading a value could spring. */
const TRAPS: ProxyHandler<Error> = {
  get: refuses,
  has: refuses,
  ownKeys: refuses,
  getPrototypeOf: refuses,
  getOwnPropertyDescriptor: refuses,
};

/** What is thrown, and what the text of it is to hold. */
export const THROWN = {
  messageObject: [() => withField('message', { detail: 'of an API' }), 'of an API'],
  messageArray: [() => withField('message', ['a', 'b']), 'a'],
  messageBigint: [() => withField('message', 10n), '10'],
  messageSymbol: [() => withField('message', Symbol('sign')), 'sign'],
  messageFunction: [() => withField('message', () => 'called'), 'called'],
  messageDate: [() => withField('message', new Date(0)), '1970'],
  messageNull: [() => withField('message', null), 'null'],
  messageCircle: [
    () => {
      const error = new Error('replaced');
      return withField('message', {
        error,
        again: Object.defineProperty({}, 'me', { get: refuses, enumerable: true }),
      });
    },
    '',
  ],
  messageGetter: [() => withGetter('message'), ''],
  nameGetter: [() => withGetter('name'), 'has a getter'],
  codeGetter: [() => withGetter('code', new CabanaError('STORE_FULL', 'has a getter')), 'has a getter'],
  stackGetter: [() => withGetter('stack'), 'has a getter'],
  longMessage: [() => new Error(`the reason: ${'x'.repeat(17 * 1024 * 1024)}`), 'the reason: xxx'],
  longText: [() => 'y'.repeat(17 * 1024 * 1024), 'yyy'],
  proxy: [() => new Proxy(new Error('behind a proxy'), {}), 'behind a proxy'],
  proxyWithTraps: [() => new Proxy(new Error('never read'), TRAPS), ''],
  noPrototype: [() => Object.create(null) as unknown, ''],
} as const satisfies Record<string, readonly [() => unknown, string]>;

export type Thrown = keyof typeof THROWN;

export interface ThrowerInput {
  what?: Thrown;
  from?: 'run' | 'promise' | 'generator';
  /** Only when it is asked to stop. */
  whenStopped?: boolean;
}

type Ctx = AgentContext<{ n: number }>;

function make(name: Thrown): unknown {
  return THROWN[name][0]();
}

function raise(name: Thrown): never {
  throw make(name);
}

function* generator(name: Thrown): Generator<unknown, never, void> {
  yield 1;
  raise(name);
}

async function whenStopped(ctx: Ctx, name: Thrown): Promise<never> {
  // Before it says so: whoever reads that may interrupt it at once, and an aborted signal tells nobody any more.
  const stopped = new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
  ctx.progress(1, 'waiting');
  await stopped;
  raise(name);
}

export default defineAgent<{ n: number }, ThrowerInput>({
  profile: 'thrower',
  load: 'io',
  start: (ctx) => {
    const { inStart } = ctx.params as { inStart?: Thrown };
    return inStart ? raise(inStart) : { n: 0 };
  },
  run(ctx, { what, from = 'run', whenStopped: stopped }): unknown {
    ctx.state.n++;
    if (what === undefined) return ctx.state.n;
    if (stopped) return whenStopped(ctx, what);
    switch (from) {
      case 'run':
        return raise(what);
      case 'promise':
        return Promise.resolve().then(() => raise(what));
      case 'generator':
        return generator(what);
      default:
        return from satisfies never;
    }
  },
});
