// What a failed request is answered with: `{error, code}` and the status of the error table. No stack, no internals.

import { finished } from 'node:stream/promises';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { CabanaError, ERROR_CODES, type ErrorCode } from '../../protocol/errors.js';
import { REFUSED_BODY_MAX_BYTES, REFUSED_BODY_MAX_MS } from '../../protocol/limits.js';
import type { Log } from '../log.js';

/** Seconds after which a client that was turned away should try again. */
const RETRY_AFTER_SECONDS = '5';

/** What fastify refuses by itself. */
const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_VALIDATION: 'INVALID_ARGUMENT',
  FST_ERR_CTP_BODY_TOO_LARGE: 'PAYLOAD_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'UNSUPPORTED_MEDIA_TYPE',
  FST_ERR_CTP_INVALID_JSON_BODY: 'INVALID_ARGUMENT',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'INVALID_ARGUMENT',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'INVALID_ARGUMENT',
  FST_ERR_BAD_URL: 'INVALID_ARGUMENT',
  FST_ERR_MAX_PARAM_LENGTH: 'INVALID_ARGUMENT',
};

export function answerError(log: Log) {
  return async (
    error: FastifyError | CabanaError,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> => {
    const answer = answerOf(error);
    if (answer.code === 'PAYLOAD_TOO_LARGE') await drain(request);
    if (answer.code === 'INTERNAL') log.error({ err: error, url: request.url }, 'a request failed');
    return sendError(reply, answer.code, answer.message);
  };
}

/**
 * Reads what the client is still sending, up to a bound: a connection that is closed on a client that still sends its body
 * is an error to it, and the answer is lost.
 */
async function drain({ raw }: FastifyRequest): Promise<void> {
  if (raw.readableEnded || Number(raw.headers['content-length'] ?? Infinity) > REFUSED_BODY_MAX_BYTES) return;
  const patience = AbortSignal.timeout(REFUSED_BODY_MAX_MS);
  raw.resume();
  await finished(raw, { signal: patience }).catch(() => undefined);
}

export function sendError(reply: FastifyReply, code: ErrorCode, message: string): FastifyReply {
  const { status } = ERROR_CODES[code];
  if (status === 503) void reply.header('retry-after', RETRY_AFTER_SECONDS);
  return reply.code(status).send({ error: message, code });
}

function answerOf(error: FastifyError | CabanaError): { code: ErrorCode; message: string } {
  if (error instanceof CabanaError) return { code: error.code, message: error.message };
  const code = FASTIFY_CODES[error.code];
  if (code) return { code, message: error.message };
  // A client's fault that fastify words itself, such as malformed JSON.
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return { code: 'INVALID_ARGUMENT', message: error.message };
  }
  return { code: 'INTERNAL', message: 'internal error' };
}
