// What may be in an entry, an input, an output, an event or params: what every thread, and a client in another language,
// can read again. Checked before it is encoded: afterwards it is on disk, or in another thread, and too late.

import { VALUE_MAX_DEPTH } from './limits.js';

/**
 * @param around objects around the value that the host has made
 * @throws TypeError, RangeError, saying what is wrong
 */
export function assertPortable(value: unknown, around = 0): void {
  descend(value, VALUE_MAX_DEPTH + around);
}

function descend(value: unknown, depth: number): void {
  if (typeof value === 'object' && value !== null) visit(value, depth);
}

function visit(value: object, depth: number): void {
  // Every thread has a stack of its own size: what one can encode another could not decode. A cycle ends here as well.
  if (depth === 0) throw new RangeError(`it is nested more than ${VALUE_MAX_DEPTH} deep`);
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) descend(item, depth - 1);
  } else if (value instanceof Map) {
    for (const [key, item] of value as Map<unknown, unknown>) {
      // Map keys become the names of a plain object's fields.
      if (typeof key === 'object' && key !== null) throw new TypeError('a key of a Map is neither text nor a number');
      descend(item, depth - 1);
    }
  } else if (speaksForItself(value)) {
    descend(value.toJSON(), depth - 1);
  } else if (value instanceof Set) {
    for (const item of value as Set<unknown>) descend(item, depth - 1);
  } else if (value instanceof Error) {
    // What is encoded of it, which a loop over its fields does not show.
    for (const item of [value.name, value.message, value.cause]) descend(item, depth - 1);
  } else if (!ArrayBuffer.isView(value)) {
    for (const key in value) descend((value as Record<string, unknown>)[key], depth - 1);
  }
}

/** An instance of a class that is encoded as what its toJSON() gives. Of a Date and a byte array that is not so. */
function speaksForItself(value: object): value is { toJSON(): unknown } {
  if (value.constructor === Object || value instanceof Date || ArrayBuffer.isView(value)) return false;
  return typeof (value as { toJSON?: unknown }).toJSON === 'function';
}
