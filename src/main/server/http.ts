// The HTTP API: routes to the host's methods, nothing else.

import Fastify, { type FastifyInstance } from 'fastify';
import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import { CabanaError } from '../../protocol/errors.js';
import { assertRunId, assertSessionId } from '../../protocol/ids.js';
import { jsonSafe } from '../../protocol/json.js';
import {
  ANSWER_MAX_MS,
  HTTP_BODY_MAX_BYTES,
  ID_MAX_CHARS,
  INTERRUPT_ANSWER_MAX_MS,
  REQUEST_MAX_MS,
  SSE_TURN_MS,
} from '../../protocol/limits.js';
import { isTerminal, type ListQuery, type NewSession, type RunInfo } from '../../protocol/session.js';
import { defined } from '../defined.js';
import type { Host } from '../host.js';
import { answerError, answerUnparsed, sendError } from './errors.js';
import { streamEvents } from './events.js';
import { runJson, sessionJson, threadJson } from './json.js';
import * as schemas from './schemas.js';
import { Turns } from './turns.js';
import { buildValidator } from './validator.js';

interface SessionPath {
  id: string;
}

interface RunPath extends SessionPath {
  run_id: string;
}

export function createServer(host: Host): FastifyInstance {
  const answer = answerError(host.config.log);
  const server = Fastify({
    bodyLimit: HTTP_BODY_MAX_BYTES,
    // Fastify's default is for ever. It ends with the request's last byte: long polls and event streams are not cut off.
    requestTimeout: REQUEST_MAX_MS,
    logger: false,
    routerOptions: { maxParamLength: 4 * ID_MAX_CHARS },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allowUnionTypes: true } },
    schemaController: {
      compilersFactory: { buildValidator, buildSerializer: () => serializer },
    },
    schemaErrorFormatter: (errors, where) => new Error(wordsOf(errors[0]!, where)),
    forceCloseConnections: true,
    clientErrorHandler: answerUnparsed,
    frameworkErrors: (error, request, reply) => {
      // Fastify awaits nothing here; what could fail in answering has been logged by then.
      answer(error, request, reply).catch(() => undefined);
    },
  });
  // A body is optional where its schema says so, also for clients that always send the content type.
  const parse = server.getDefaultJsonParser('error', 'error');
  server.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, null);
    else Promise.resolve(parse(request, body as string, done)).catch(done);
  });
  server.removeContentTypeParser('text/plain');
  server.setErrorHandler(answer);
  server.setNotFoundHandler((request, reply) =>
    sendError(reply, 'NOT_FOUND', `nothing at ${request.method} ${request.url}`),
  );
  server.setReplySerializer(toJson);
  server.addHook('onRequest', async (request) => {
    const { id } = request.params as Partial<SessionPath>;
    if (id !== undefined) assertSessionId(id);
  });
  server.addHook('onSend', async (_request, { raw }) => {
    // Of a client that has gone, 'close' has fired.
    if (raw.closed || raw.destroyed) return;
    const deadline = host.config.clock.after(ANSWER_MAX_MS, () => raw.destroy());
    raw.once('close', () => deadline.cancel());
  });
  health(server, host);
  sessions(server, host);
  runs(server, host);
  return server;
}

const toJson = (payload: unknown): string => JSON.stringify(payload, jsonSafe);
/** What is wrong with a body or a query, and with which field of it. */
function wordsOf({ instancePath, message, params }: FastifySchemaValidationError, where: string): string {
  const { additionalProperty, allowedValues } = params as { additionalProperty?: string; allowedValues?: string[] };
  const what = additionalProperty ? `: ${additionalProperty}` : allowedValues ? `: ${allowedValues.join(', ')}` : '';
  return `${where}${instancePath} ${message ?? 'is invalid'}${what}`;
}

/** No route has a schema of its answers: nothing asks for this, but without it fastify would load a compiler of its own. */
const serializer = () => toJson;

function health(server: FastifyInstance, host: Host): void {
  server.get('/healthz', async () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    if (host.ready) return { status: 'ready' };
    const code = host.fatal ? 'STORE_IO' : 'HOST_DRAINING';
    return sendError(reply, code, host.fatal ? 'the storage failed' : 'the host is shutting down');
  });
}

function sessions(server: FastifyInstance, host: Host): void {
  const { registry } = host;

  server.get<{ Querystring: Record<string, string | undefined> }>(
    '/api/sessions',
    { schema: schemas.LIST_SESSIONS },
    async (request) => {
      const page = await registry.list(listQuery(request.query));
      return { sessions: page.rows.map(sessionJson), has_more: page.hasMore, next_before: page.nextBefore };
    },
  );

  server.post<{ Body: schemas.CreateSessionBody }>(
    '/api/sessions',
    { schema: schemas.CREATE_SESSION },
    async (request, reply) => {
      const id = await host.create(newSession(request.body));
      return reply.code(201).send({ session: sessionJson(await found(registry.snapshot(id), id)) });
    },
  );

  server.get<{ Params: SessionPath }>('/api/sessions/:id', async ({ params: { id } }) => {
    return { session: sessionJson(await found(registry.snapshot(id), id)) };
  });

  server.patch<{ Params: SessionPath; Body: { name?: string | null; pinned?: boolean } }>(
    '/api/sessions/:id',
    { schema: schemas.PATCH_SESSION },
    async ({ params: { id }, body }) => ({ session: sessionJson(await found(registry.edit(id, body), id)) }),
  );

  server.delete<{ Params: SessionPath }>('/api/sessions/:id/quarantine', async ({ params: { id } }, reply) => {
    if (!(await registry.clearQuarantine(id))) throw unknown(id);
    return reply.code(204).send();
  });

  server.get('/api/threads', async () => ({ threads: host.threads().map(threadJson), store: host.storage() }));

  server.delete<{ Params: SessionPath }>('/api/sessions/:id', async ({ params: { id } }, reply) => {
    if (!(await registry.delete(id))) throw unknown(id);
    return reply.code(204).send();
  });

  server.get<{ Params: SessionPath; Querystring: { limit?: string; before?: string } }>(
    '/api/sessions/:id/messages',
    { schema: schemas.LIST_MESSAGES },
    async ({ params: { id }, query }, reply) => {
      const { min, max } = schemas.BOUNDS.messages;
      const limit = schemas.countOf(query.limit, 'limit', min, max);
      const before = schemas.countOf(query.before, 'before', 0, Number.MAX_SAFE_INTEGER);
      const json = await found(host.messagesJson(id, { ...defined({ limit, before }) }), id);
      return reply.type('application/json; charset=utf-8').send(json);
    },
  );
}

function runs(server: FastifyInstance, host: Host): void {
  const turns = new Turns(SSE_TURN_MS);

  server.post<{ Params: SessionPath; Body: schemas.CreateRunBody }>(
    '/api/sessions/:id/runs',
    { schema: schemas.CREATE_RUN },
    async ({ params: { id }, body }, reply) => {
      const { input, when_busy: whenBusy, run_id: runId, run_timeout_ms: runTimeoutMs, priority } = body;
      // Answered only when the input is on disk.
      const run = await host.send(id, input, defined({ whenBusy, runId, runTimeoutMs, priority })).accepted;
      // Of a run id that was known the run may have gone on since it was accepted.
      const { state } = (isTerminal(run.state) ? null : await host.run(id, run.id)) ?? run;
      return reply.code(202).send({ run: { id: run.id, state } });
    },
  );

  server.get<{ Params: RunPath; Querystring: { wait_ms?: string } }>(
    '/api/sessions/:id/runs/:run_id',
    { schema: schemas.GET_RUN },
    async ({ params: { id, run_id: runId }, query }) => {
      assertRunId(runId);
      const { min, max } = schemas.BOUNDS.waitMs;
      const waitMs = schemas.countOf(query.wait_ms, 'wait_ms', min, max) ?? 0;
      const run = await runWhenOver(host, id, runId, waitMs);
      if (!run) {
        await found(host.registry.snapshot(id), id);
        throw new CabanaError('RUN_NOT_FOUND', `session ${id} has no run ${runId}`);
      }
      return { run: runJson(run) };
    },
  );

  server.post<{ Params: SessionPath; Body?: { run_id?: string } | null }>(
    '/api/sessions/:id/interrupt',
    { schema: schemas.INTERRUPT },
    async ({ params: { id }, body }, reply) => {
      const runId = body?.run_id;
      if (runId !== undefined) assertRunId(runId);
      const asked = host.interrupt(id, runId);
      if (asked === null) await found(host.registry.snapshot(id), id);
      else if (host.registry.get(id)?.runId !== asked) await overOnDisk(host, id, asked);
      return reply.code(202).send({ interrupted: asked !== null, run_id: asked });
    },
  );

  server.get<{ Params: SessionPath; Querystring: { last_event_id?: string } }>(
    '/api/sessions/:id/events',
    // A HEAD of it would never be answered.
    { schema: schemas.EVENTS, exposeHeadRoute: false },
    async (request, reply) => {
      const { id } = request.params;
      const last = request.headers['last-event-id'] ?? request.query.last_event_id;
      if (last !== undefined && !/^[0-9]{1,15}$/.test(String(last))) {
        throw new CabanaError('INVALID_ARGUMENT', 'Last-Event-ID is a seq');
      }
      const end = await found(host.lastSeq(id), id);
      reply.hijack();
      await streamEvents(host, id, last === undefined ? null : Number(last), end, reply.raw, turns);
    },
  );
}

/** A run that waited ends with its interrupt: answered when the disk knows, or no process would after a crash. */
async function overOnDisk(host: Host, sessionId: string, runId: string): Promise<void> {
  // A host that closes leaves it to its shutdown.
  await host.pending(sessionId, runId, INTERRUPT_ANSWER_MAX_MS)?.catch(() => undefined);
}

/** The run, when it is over or the time is up, whichever is first. */
async function runWhenOver(host: Host, sessionId: string, runId: string, waitMs: number): Promise<RunInfo | undefined> {
  const run = await host.run(sessionId, runId);
  const outcome = run && !isTerminal(run.state) && waitMs > 0 ? host.pending(sessionId, runId, waitMs) : undefined;
  if (!outcome) return run;
  // A host that closes lets go of what still waits, which stays on disk as it is.
  return (await outcome.catch(() => run)) ?? host.run(sessionId, runId);
}

function listQuery(query: Record<string, string | undefined>): ListQuery {
  const { min, max } = schemas.BOUNDS.list;
  return defined({
    limit: schemas.countOf(query['limit'], 'limit', min, max),
    before: query['before'],
    q: query['q'],
    date: query['date'] === '' ? undefined : query['date'],
    type: query['type'] === '' ? undefined : query['type'],
    includePinned: schemas.booleanOf(query['include_pinned']),
  });
}

function newSession(body: schemas.CreateSessionBody): NewSession {
  const { name, agent_profile: agentProfile, source, working_dir: workingDir, params, pinned } = body;
  return defined({ name, agentProfile, source, workingDir, params, pinned });
}

async function found<T>(value: Promise<T | undefined>, id: string): Promise<T> {
  const result = await value;
  if (result === undefined) throw unknown(id);
  return result;
}

function unknown(id: string): CabanaError {
  return new CabanaError('SESSION_NOT_FOUND', `there is no session ${id}`);
}
