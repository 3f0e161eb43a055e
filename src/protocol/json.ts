// What JSON cannot carry, made carryable: for JSON.stringify's replacer argument.

/** BigInts become strings of digits, byte arrays base64, Map and Set plain arrays and objects. */
export function jsonSafe(this: unknown, _key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (isBufferJson(value)) return Buffer.from(value.data).toString('base64');
  if (ArrayBuffer.isView(value)) {
    return Buffer.from(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength).toString('base64');
  }
  if (value instanceof Map) return Object.fromEntries(value as Map<string, unknown>);
  if (value instanceof Set) return [...(value as Set<unknown>)];
  return value;
}

/** Buffers have a toJSON(), which has run before a replacer sees them. */
function isBufferJson(value: unknown): value is { type: 'Buffer'; data: number[] } {
  if (typeof value !== 'object' || value === null) return false;
  const json = value as { type?: unknown; data?: unknown };
  return json.type === 'Buffer' && Array.isArray(json.data);
}
