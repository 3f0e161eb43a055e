// Pages of records on their way from the store to main.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodePage, encodePage } from '../../src/protocol/record-page.js';
import { emptyStats, type SessionRecord } from '../../src/protocol/session.js';

const plain: SessionRecord = {
  sessionId: 'a',
  name: null,
  source: 'manual',
  agentProfile: null,
  workingDir: null,
  params: {},
  pinned: false,
  createdAt: '2026-01-01T00:00:00.000Z',
  updatedAt: '2026-01-02T00:00:00.000Z',
  quarantine: null,
  stats: emptyStats(),
};
const full: SessionRecord = {
  ...plain,
  sessionId: 'b',
  name: 'Straße 😀',
  agentProfile: 'coding',
  workingDir: '/srv',
  pinned: true,
  quarantine: 'it crashed',
  stats: {
    totalTasks: 3,
    totalCostUsd: 0.125,
    latestLatencyMs: 0,
    costSource: 'table',
    model: 'm',
    modelId: 'm-1',
    reasoningEffort: 'high',
    permissionMode: 'ask',
    cardModel: 'c',
    subModel: 's',
    subModelOptions: ['s', 't'],
    topUpUrl: '/top-up',
    error: '',
    errorCode: 'AGENT_ERROR',
  },
};

test('a page arrives as it was, and shares no bytes with the next one', () => {
  const page = { records: [plain, full, plain], hasMore: true, nextBefore: `${plain.createdAt},a` };
  const bytes = encodePage(page);
  const empty = encodePage({ records: [], hasMore: false, nextBefore: null });
  assert.equal(bytes.buffer.byteLength, bytes.byteLength);
  assert.deepEqual(decodePage(bytes), page);
  assert.deepEqual(decodePage(empty), { records: [], hasMore: false, nextBefore: null });
});

test('what a session has no figures of is not sent', () => {
  const size = (...records: SessionRecord[]): number =>
    encodePage({ records, hasMore: false, nextBefore: null }).byteLength;
  assert.ok(size(plain, plain) - size(plain) < 90);
});
