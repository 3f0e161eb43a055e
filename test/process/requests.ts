// Requests of the HTTP API as tests make them, and what an answer that refuses looks like.

import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import type { TestContext } from 'node:test';
import { Server, type Answer } from '../support/server.js';
import { tempDir } from '../support/temp.js';
import { flags } from './client.js';

export const start = (t: TestContext, ...more: string[]): Promise<Server> =>
  Server.start(t, flags(tempDir(t), ['counter', 'general'], '--threads', '1', ...more));

/** The answer is an error of this status and code, in the one shape that errors have, and gives nothing away. */
export function assertRefused(answer: Answer, status: number, code: string): void {
  assert.deepEqual({ status: answer.status, code: answer.body['code'] }, { status, code }, JSON.stringify(answer.body));
  assert.deepEqual(Object.keys(answer.body).sort(), ['code', 'error']);
  const text = answer.body['error'];
  assert.ok(typeof text === 'string' && text.length > 0);
  assert.match(answer.headers.get('content-type') ?? '', /^application\/json/);
  for (const secret of [process.cwd(), tmpdir(), 'node_modules', 'file://', '.js:', '.ts:', '\n    at ']) {
    assert.ok(!text.includes(secret), `${JSON.stringify(secret)} leaks in ${text}`);
  }
}

/** A request as it is, with a body that need not be JSON. */
export async function raw(server: Server, path: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(`${server.url}${path}`, init);
  const text = await response.text();
  const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, body };
}

export async function list(
  server: Server,
  query: string,
): Promise<{ ids: string[]; more: boolean; next: string | null }> {
  const answer = await server.request('GET', `/api/sessions${query}`);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  const ids = (answer.body['sessions'] as { id: string }[]).map((row) => row.id);
  return { ids, more: answer.body['has_more'] as boolean, next: answer.body['next_before'] as string | null };
}
