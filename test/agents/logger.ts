// Writes to the log what it is asked to.

import { defineAgent, type AgentContext } from '../../src/worker/agent.js';

const FIELDS = {
  error: () => {
    const failure = new TypeError('it broke', { cause: new Error('why') });
    return { failure, err: failure, beside: [{ inner: new Error('deep') }] };
  },
  // An Error in the place of the fields.
  bare: () => new RangeError('in their place'),
  own: () => ({ level: 99, time: 1, pid: 1, msg: 'forged', sessionId: 'forged', mine: 'kept' }),
  callback: () => () => 'never called',
  text: () => 'no fields',
  aloud: () => {
    console.log('said aloud');
    console.error('said aloud');
    return {};
  },
  hostile: () =>
    new Proxy(
      {},
      {
        ownKeys: () => {
          throw new Error('no');
        },
      },
    ),
} as const;

export type LoggedFields = keyof typeof FIELDS;

export default defineAgent<Record<string, never>, LoggedFields>({
  profile: 'logger',
  load: 'io',
  run(ctx: AgentContext<unknown>, fields) {
    ctx.log.warn(`with ${fields}`, FIELDS[fields]());
    return fields;
  },
});
