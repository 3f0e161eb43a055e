// What may be in an entry, an input, an output, an event or params: what every thread, and a client in another language,
// can read again. Checked before it is encoded: afterwards it is on disk, or in another thread, and too late.

import { VALUE_MAX_DEPTH } from './limits.js';

/** @throws TypeError, RangeError, saying what is wrong */
export function assertPortable(value: unknown): void {
  if (typeof value === 'object' && value !== null) visit(value, VALUE_MAX_DEPTH);
}

function visit(value: object, depth: number): void {
  // Every thread has a stack of its own size: what one can encode another could not decode. A cycle ends here as well.
  if (depth === 0) throw new RangeError(`it is nested more than ${VALUE_MAX_DEPTH} deep`);
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) if (typeof item === 'object' && item !== null) visit(item, depth - 1);
  } else if (value instanceof Map) {
    for (const [key, item] of value as Map<unknown, unknown>) {
      // Map keys become the names of a plain object's fields.
      if (typeof key === 'object' && key !== null) throw new TypeError('a key of a Map is neither text nor a number');
      if (typeof item === 'object' && item !== null) visit(item, depth - 1);
    }
  } else if (value instanceof Set) {
    for (const item of value as Set<unknown>) if (typeof item === 'object' && item !== null) visit(item, depth - 1);
  } else if (!ArrayBuffer.isView(value)) {
    for (const key in value) {
      const item = (value as Record<string, unknown>)[key];
      if (typeof item === 'object' && item !== null) visit(item, depth - 1);
    }
  }
}
