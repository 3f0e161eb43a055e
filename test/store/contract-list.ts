// What every store keeps to, continued: lists, paging and search.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { recordPage } from '../../src/protocol/record-page.js';
import { emptyStats, type ListQuery, type SessionRecord } from '../../src/protocol/session.js';
import type { Store } from '../../src/worker/store/store.js';
import { seedOf } from '../support/random.js';
import type { StoreFactory } from './contract.js';
import { modelPage } from './list-model.js';
import { create, record } from './records.js';

/** Sessions, queries and the ids expected, in order; JSON has the names of the HTTP API. */
interface Fixture {
  sessions: {
    session_id: string;
    name?: string | null;
    created_at: string;
    updated_at: string;
    working_dir: string;
    source?: string;
    agent_profile?: string;
    pinned: boolean;
    stats: { total_tasks: number; total_cost_usd: number };
  }[];
  cases: { query: ListQuery & { include_pinned?: boolean }; ids: string[] }[];
  cron_count: number;
}

const fixture = JSON.parse(
  readFileSync(new URL('../../../test/fixtures/list.json', import.meta.url), 'utf8'),
) as Fixture;

const fixtureRecords = fixture.sessions.map((s) =>
  record(s.session_id, {
    name: s.name ?? null,
    source: s.source ?? null,
    agentProfile: s.agent_profile ?? null,
    workingDir: s.working_dir,
    pinned: s.pinned,
    createdAt: s.created_at,
    updatedAt: s.updated_at,
    stats: { ...emptyStats(), totalTasks: s.stats.total_tasks, totalCostUsd: s.stats.total_cost_usd },
  }),
);

async function idsFor(store: Store, query: ListQuery): Promise<string[]> {
  return recordPage(await store.page(query)).records.map((found) => found.sessionId);
}

const at = (ms: number): string => new Date(Date.parse('2026-03-01T00:00:00Z') + ms).toISOString();

export function listContract(open: StoreFactory): void {
  test('every case of the shared list vectors gives the ids expected, in order', async (t) => {
    const store = await open(t);
    await create(store, ...fixtureRecords);
    assert.deepEqual([fixture.sessions.length, fixture.cases.length], [60, 40]);
    const wrong: unknown[] = [];
    for (const { query, ids } of fixture.cases) {
      const { include_pinned: includePinned, ...rest } = query;
      const asked = { ...rest, ...(includePinned === undefined ? {} : { includePinned }) };
      const found = await idsFor(store, asked).catch((error: Error) => [error.message]);
      if (JSON.stringify(found) !== JSON.stringify(ids)) wrong.push({ asked, found, ids });
    }
    assert.deepEqual(wrong.slice(0, 1), [], `${wrong.length} of ${fixture.cases.length} cases`);
    assert.equal(await store.cronCount(), fixture.cron_count);
  });

  test('a cursor goes through sessions of one millisecond without losing one or showing one twice', async (t) => {
    const store = await open(t);
    const all = Array.from({ length: 47 }, (_, i) => record(`s${i}`, { createdAt: at(Math.floor(i / 20)) }));
    await create(store, ...all, record('pinned', { pinned: true, createdAt: at(0) }));
    const seen: string[] = [];
    let before: string | undefined;
    for (let pages = 0; pages < 20; pages++) {
      const page = recordPage(await store.page({ limit: 5, ...(before === undefined ? {} : { before }) }));
      seen.push(...page.records.map((found) => found.sessionId));
      assert.equal(page.nextBefore !== null, page.hasMore);
      if (page.nextBefore === null) break;
      before = page.nextBefore;
    }
    assert.equal(seen[0], 'pinned');
    assert.deepEqual(seen.slice(1), modelPage(all, {}).ids);
  });

  test('a full last page says that there is no more', async (t) => {
    const store = await open(t);
    await create(store, ...Array.from({ length: 4 }, (_, i) => record(`s${i}`, { createdAt: at(i) })));
    const { records, hasMore, nextBefore } = recordPage(await store.page({ limit: 4 }));
    assert.deepEqual([records.length, hasMore, nextBefore], [4, false, null]);
    assert.equal(recordPage(await store.page({ limit: 3 })).hasMore, true);
  });

  test('q is plain text: no character of it has a meaning of its own', async (t) => {
    const store = await open(t);
    const names: Record<string, string> = {
      percent: '100% done',
      under: 'snake_case_name',
      quotes: `say "hello" and 'bye'`,
      query: 'a AND b OR NOT (c) NEAR* ^x: -y + {z}',
      slash: 'back\\slash/and * star',
      plain: '100 done, snakeXcase',
    };
    await create(store, ...Object.entries(names).map(([id, name]) => record(id, { name })));
    for (const [q, ids] of [
      ['%', ['percent']],
      ['0% ', ['percent']],
      ['100%', ['percent']],
      ['_', ['under']],
      ['e_c', ['under']],
      ['snake_case', ['under']],
      ['"', ['quotes']],
      ['""', []],
      ['"hello"', ['quotes']],
      ["'bye'", ['quotes']],
      ["'; DROP TABLE sessions; --", []],
      [' AND ', ['query', 'quotes']],
      ['NEAR*', ['query']],
      ['(c)', ['query']],
      ['^x: -', ['query']],
      ['*', ['query', 'slash']],
      ['k\\s', ['slash']],
      ['hello AND bye', []],
    ] as const) {
      assert.deepEqual((await idsFor(store, { q })).sort(), ids, q);
    }
  });

  test('q of any length is found within name or id, whatever their case, and never across the two', async (t) => {
    const store = await open(t);
    await create(
      store,
      record('AbC-77', { name: 'Straße nach Ålesund 😀🎉 日本語' }),
      record('xyz', { name: 'ΟΔΥΣΣΕΎΣ Re\u0301sume\u0301', pinned: true }),
      record('zzz', { name: null }),
    );
    for (const [q, ids] of [
      ['a', ['AbC-77']],
      ['BC', ['AbC-77']],
      ['abc-77', ['AbC-77']],
      ['strasse', ['AbC-77']],
      ['STRASSE NACH å', ['AbC-77']],
      ['SS', ['AbC-77']],
      ['😀', ['AbC-77']],
      ['😀🎉', ['AbC-77']],
      ['😀🎉 日', ['AbC-77']],
      ['日本語', ['AbC-77']],
      ['οδυσσεύς', ['xyz']],
      ['σσε', ['xyz']],
      ['Ύς', ['xyz']],
      ['RÉSUMÉ', ['xyz']],
      ['resume', []],
      ['z', ['xyz', 'zzz']],
      ['zzz', ['zzz']],
      ['日本語AbC', []],
      ['語a', []],
    ] as const) {
      assert.deepEqual(await idsFor(store, { q }), ids, q);
    }
  });

  test('the longest q is answered, although every three letters of it differ', async (t) => {
    const store = await open(t);
    const name = String.fromCodePoint(...Array.from({ length: 256 }, (_, i) => 0x4e00 + i));
    await create(store, record('long', { name: `${name}.` }), record('other', { name: 'x' }));
    assert.deepEqual(await idsFor(store, { q: name }), ['long']);
    assert.deepEqual(await idsFor(store, { q: 'ΐ'.repeat(256) }), []);
  });

  test('the newest n of each source are found, system being setup and none being manual', async (t) => {
    const store = await open(t);
    const sources = ['cron', 'channel', 'system', 'setup', null, 'manual', 'my-own'];
    const all = sources.flatMap((source, s) =>
      Array.from({ length: 4 }, (_, i) =>
        record(`${source}-${i}`, { source, createdAt: at((i * 7) % 5), pinned: s % 2 === 0 }),
      ),
    );
    await create(store, ...all);
    const expected = ['cron', 'channel', 'setup', 'manual', 'my-own'].flatMap((type) => {
      const ofSource = all.filter((r) => (r.source === 'system' ? 'setup' : (r.source ?? 'manual')) === type);
      return modelPage(
        ofSource.map((r) => ({ ...r, pinned: false })),
        { limit: 3 },
      ).ids;
    });
    const newest = await store.newest(3, Infinity);
    assert.deepEqual([...newest].sort(), expected.sort());
    for (const max of [0, 1, 7, 14, 15, 16]) assert.deepEqual(await store.newest(3, max), newest.slice(0, max));
  });

  test('a page is what a naive list in memory gives, for any sessions and any query', async (t) => {
    const seed = seedOf(t);
    const text = (maxLength: number) =>
      fc.string({ unit: fc.constantFrom(...'abAsSßéeΣςσ%_"\' *😀İıKk-日', 'e\u0301'), maxLength });
    const instant = fc.integer({ min: 0, max: 4 }).map((n) => at(n * 43_200_001));
    const source = fc.constantFrom(null, '', 'manual', 'cron', 'system', 'setup', 'coding', 'x');
    const session = fc.record({
      suffix: fc.string({ unit: fc.constantFrom(...'abAS1.:_-'), maxLength: 3 }),
      name: fc.option(text(9)),
      source,
      agentProfile: fc.constantFrom(null, '', 'general', 'coding', 'Coding'),
      pinned: fc.boolean(),
      createdAt: instant,
    });
    const query = fc.record(
      {
        limit: fc.integer({ min: 1, max: 6 }),
        before: fc.oneof(
          instant,
          fc.tuple(instant, fc.nat(20)).map(([when, i]) => `${when},s${i}`),
        ),
        q: text(6).filter((q) => q !== ''),
        date: fc.constantFrom('2026-03-01', '2026-03-02', '2026-03', '2026', '2025'),
        type: fc.constantFrom('manual', 'cron', 'system', 'setup', 'coding', 'x', 'general'),
        includePinned: fc.boolean(),
      },
      { requiredKeys: [] },
    );
    const property = fc.asyncProperty(
      fc.array(session, { maxLength: 25 }),
      fc.array(query, { maxLength: 12 }),
      async (sessions, queries) => {
        const store = await open(t);
        const all: SessionRecord[] = sessions.map(({ suffix, ...rest }, i) => record(`s${i}${suffix}`, rest));
        await create(store, ...all);
        for (const asked of [{}, ...queries]) {
          const { records, hasMore, nextBefore } = recordPage(await store.page(asked));
          const ids = records.map((found) => found.sessionId);
          assert.deepEqual({ ids, hasMore, nextBefore }, modelPage(all, asked), JSON.stringify(asked));
        }
      },
    );
    await fc.assert(property, { seed, numRuns: 60 });
  });
}
