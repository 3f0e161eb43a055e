// What a failed request is answered with: `{error, code}` and the status of the error table. No stack, no internals.

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { CabanaError, codeOf, ERROR_CODES, type ErrorCode } from '../../protocol/errors.js';
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

/** What Node's parser refuses: it never becomes a request. */
const PARSER_CODES: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
};

/** Answers what is no HTTP request, and ends the connection. */
export function answerUnparsed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code = PARSER_CODES[error.code ?? ''] ?? 'INVALID_ARGUMENT';
  const { status } = ERROR_CODES[code];
  const body = JSON.stringify({ error: `this is not a request that can be read: ${error.message}`, code });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

export function sendError(reply: FastifyReply, code: ErrorCode, message: string): FastifyReply {
  const { status } = ERROR_CODES[code];
  if (status === 503) void reply.header('retry-after', RETRY_AFTER_SECONDS);
  return reply.code(status).send({ error: message, code });
}

function answerOf(error: FastifyError | CabanaError): { code: ErrorCode; message: string } {
  // To a client a closed host is one that is about to end, as it was a moment before.
  if (codeOf(error) === 'HOST_CLOSED') return { code: 'HOST_DRAINING', message: error.message };
  if (error instanceof CabanaError) return { code: error.code, message: error.message };
  const code = FASTIFY_CODES[error.code];
  if (code) return { code, message: error.message };
  // A client's fault that fastify words itself, such as malformed JSON.
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return { code: 'INVALID_ARGUMENT', message: error.message };
  }
  return { code: 'INTERNAL', message: 'internal error' };
}
