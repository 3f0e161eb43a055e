// How a batch of an endpoint travels: cloned, or as MessagePack bytes.

import { Packr } from 'msgpackr';
import type { Transferable } from 'node:worker_threads';

/** From this many items or this estimated size on, a batch is encoded instead of cloned. */
export const ENCODE_FROM_ITEMS = 8;
const ENCODE_FROM_BYTES = 4096;
/** From this size on, moving bytes is quicker than copying them: a move has a price of its own. */
const TRANSFER_FROM_BYTES = 16_384;

const packr = new Packr({ moreTypes: true });

export interface BatchPort {
  postMessage(message: unknown, transfers: readonly Transferable[]): void;
}

/**
 * Throws what cloning or encoding throws; nothing is sent then.
 * @param isLong it has ENCODE_FROM_ITEMS items or more
 */
export function postBatch(
  port: BatchPort,
  batch: unknown[],
  transfers: readonly Transferable[],
  isLong: boolean,
): void {
  if (transfers.length === 0 && (isLong || sizeAtLeast(batch, ENCODE_FROM_BYTES))) {
    const bytes = exactCopy(packr.pack(batch));
    port.postMessage(bytes, bytes.byteLength >= TRANSFER_FROM_BYTES ? [bytes.buffer] : []);
  } else {
    port.postMessage(batch, transfers);
  }
}

export function readBatch(message: unknown[] | Uint8Array): unknown[] {
  return Array.isArray(message) ? message : (packr.unpack(message) as unknown[]);
}

/** pack() gives a view of a pool, which would travel along. */
function exactCopy(pooled: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(pooled);
}

/**
 * Whether cloning this value costs like `bytes` or more. Byte arrays count nothing: cloning them is one copy, whatever
 * their size. Stops as soon as the answer is known.
 */
function sizeAtLeast(value: unknown, bytes: number): boolean {
  let left = bytes;
  const visit = (v: unknown): void => {
    if (left <= 0) return;
    if (typeof v === 'string') left -= v.length;
    else if (typeof v !== 'object' || v === null) left -= 8;
    else if (ArrayBuffer.isView(v) || v instanceof ArrayBuffer || v instanceof SharedArrayBuffer) left -= 32;
    else if (Array.isArray(v)) {
      // Counted itself as well, so that a cycle comes to an end.
      left -= 8;
      for (const item of v) visit(item);
    } else {
      left -= 8;
      for (const key in v) {
        left -= key.length + 8;
        visit((v as Record<string, unknown>)[key]);
        if (left <= 0) return;
      }
    }
  };
  visit(value);
  return left <= 0;
}
