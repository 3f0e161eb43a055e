// Values at the bounds of what may be encoded, made by their name: an agent makes them in its own thread, where what
// cannot be sent to it need not travel.

import { VALUE_MAX_DEPTH } from '../../src/protocol/limits.js';

/** Arrays and objects in each other, so many deep. */
export function nested(depth: number): unknown {
  let value: unknown = [];
  for (let i = 1; i < depth; i++) value = i % 2 === 0 ? [value] : { of: value };
  return value;
}

/** How deep the first members of objects and arrays are nested. */
export function depthOf(value: unknown): number {
  let depth = 0;
  for (; typeof value === 'object' && value !== null; depth++) value = Object.values(value)[0];
  return depth;
}

class Loose {
  toJSON(): unknown {
    return new Map([[{ a: 1 }, 1]]);
  }
}

/** What no other thread could read, or no client. */
export const UNREADABLE = {
  dateKeys: () => new Map([[new Date(0), 3]]),
  objectKeys: () => ({ list: [new Map([[{ a: 1 }, 'x']])] }),
  byteKeys: () => new Set([new Map([[new Uint8Array([1]), 'x']])]),
  keysInACause: () => new Error('why', { cause: new Map([[{}, 1]]) }),
  keysByToJson: () => ({ by: new Loose() }),
  tooDeep: () => nested(VALUE_MAX_DEPTH + 1),
  fromADeepStack: () => nested(4_000),
  cycle: () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = [cycle];
    return cycle;
  },
} as const satisfies Record<string, () => unknown>;

export type Unreadable = keyof typeof UNREADABLE;
