// What JSON cannot carry, made carryable: for JSON.stringify's replacer argument.

/**
 * BigInts become strings of digits, byte arrays base64, Map and Set plain objects and arrays, an Error its name, message
 * and own fields, a RegExp its text.
 */
export function jsonSafe(this: unknown, key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  // The original: a Buffer's toJSON() has run before a replacer sees the value.
  const original = (this as Record<string, unknown>)[key];
  if (ArrayBuffer.isView(original)) {
    return Buffer.from(original.buffer as ArrayBuffer, original.byteOffset, original.byteLength).toString('base64');
  }
  if (original instanceof ArrayBuffer) return Buffer.from(original).toString('base64');
  if (value instanceof Error) return errorFields(value);
  if (value instanceof RegExp) return String(value);
  if (value instanceof Map) return Object.fromEntries(value as Map<string, unknown>);
  if (value instanceof Set) return [...(value as Set<unknown>)];
  return value;
}

function errorFields(error: Error): Record<string, unknown> {
  const { name, message, cause } = error;
  return { ...error, name, message, ...(cause === undefined ? {} : { cause }) };
}
