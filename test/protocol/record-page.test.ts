// Pages of records on their way from the store to main.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordPage } from '../../src/protocol/record-page.js';
import { emptyStats, type SessionRecord } from '../../src/protocol/session.js';
import { listedPage } from '../support/listed-page.js';

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

test('a page is as its rows say', () => {
  const rows = listedPage([plain, full, plain]);
  const { pinned, others } = listedPage([full]);
  assert.deepEqual(recordPage({ ...rows, limit: 3 }), {
    records: [plain, full, plain],
    hasMore: false,
    nextBefore: null,
  });
  assert.deepEqual(recordPage({ ...rows, pinned: others, limit: 2 }), {
    records: [full, plain, full],
    hasMore: true,
    nextBefore: `${full.createdAt},b`,
  });
  assert.deepEqual(recordPage({ pinned, others: '[]', limit: 1 }), { records: [], hasMore: false, nextBefore: null });
});

test('figures that are none cost those of their session alone', () => {
  const rows = JSON.parse(listedPage([full, full]).others) as string[][];
  rows[0]![9] = '{"totalTasks":';
  const [damaged, whole] = recordPage({ pinned: '[]', others: JSON.stringify(rows), limit: 2 }).records;
  assert.equal(damaged?.stats.errorCode, 'STORE_CORRUPT');
  assert.deepEqual({ ...damaged, stats: full.stats }, full);
  assert.deepEqual(whole, full);
});
