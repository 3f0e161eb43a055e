// Histories of large entries: read in pages of bounded bytes, and whole all the same.

import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Host } from '../../src/main/index.js';
import { ENTRIES_PAGE_MAX_BYTES, ENTRIES_PAGE_ROWS, TAIL_PAGE_ROWS } from '../../src/protocol/limits.js';
import type { BulkyAnswer, BulkyInput, Sizes } from '../agents/bulky.js';
import { testAgent } from '../support/host.js';
import { launch, outputOf } from './launch.js';

const MIB = 1024 * 1024;

const bulkyHost = async (t: TestContext): Promise<Host> => {
  const host = await launch(t, { agents: [testAgent('bulky')], threads: 1 });
  await host.create({ sessionId: 'a', agentProfile: 'bulky' });
  return host;
};

const use = async (host: Host, input: BulkyInput): Promise<BulkyAnswer> => {
  const run = await host.send('a', input).result;
  assert.equal(run.state, 'completed', run.error ?? '');
  return outputOf<BulkyAnswer>(run);
};

/** Small ones, and here and there one that makes a page shorter, or is more than a page by itself. */
function mixed(count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    if (i === count >> 1) return 12 * MIB;
    return i % (count >> 4) === 0 ? 2 * MIB : i % 100;
  });
}

/** The history of one run that appends these: its input first, its outcome last. */
const asAppended = (chars: number[]): Sizes => [0, ...chars, 0].map((size, i) => [i + 1, size]);

test('a page of messages is bounded by bytes, and has_more and before lead to every entry exactly once', async (t) => {
  const host = await bulkyHost(t);
  const chars = [3, 3, 3, 3, 12, 12, 1, 1, 7, 2].flatMap((mib) => [mib * MIB, 5]);
  await use(host, { append: chars });
  for (const limit of [1, 3, 1000]) {
    let all: Sizes = [];
    let pages = 0;
    for (let before: number | undefined; ;) {
      const page = await host.messages('a', { limit, ...(before === undefined ? {} : { before }) });
      const sizes = page!.messages.map((entry): [number, number] => [
        entry['seq'] as number,
        ((entry['text'] as string | undefined) ?? '').length,
      ]);
      assert.ok(sizes.length >= 1 && sizes.length <= limit);
      const bytes = sizes.reduce((sum, [, size]) => sum + size, 0);
      assert.ok(sizes.length === 1 || bytes <= ENTRIES_PAGE_MAX_BYTES, `${sizes.length} entries of ${bytes} bytes`);
      all = [...sizes, ...all];
      pages++;
      before = sizes[0]![0];
      assert.equal(page!.hasMore, before > 1);
      if (!page!.hasMore) break;
    }
    assert.deepEqual(all, asAppended(chars), `pages of ${limit}`);
    assert.ok(pages > 5, `${pages} pages`);
  }
  assert.deepEqual(await host.messages('a', { before: 1 }), { messages: [], hasMore: false });
});

test('pages of small entries are as long as asked, and the first one of a history says that it is', async (t) => {
  const host = await bulkyHost(t);
  await use(host, { append: Array.from({ length: 8 }, () => 1) });
  for (const [limit, hasMore] of [
    [9, true],
    [10, false],
    [11, false],
  ] as const) {
    const page = await host.messages('a', { limit });
    assert.deepEqual([page!.messages.length, page!.hasMore], [Math.min(limit, 10), hasMore], `limit ${limit}`);
  }
});

test('an agent reads all of a history of large entries, in order, from any seq', async (t) => {
  const host = await bulkyHost(t);
  const chars = mixed(3 * ENTRIES_PAGE_ROWS);
  await use(host, { append: chars });
  const all = asAppended(chars);
  const own = all.length + 1;
  assert.deepEqual((await use(host, { read: {} })).read, [...all, [own, 0]]);
  for (const [from, limit] of [
    [1, all.length],
    [17, 400],
    [(chars.length >> 1) + 1, 2],
    [300, ENTRIES_PAGE_ROWS],
  ] as const) {
    const { read } = await use(host, { read: { from, limit } });
    assert.deepEqual(read, all.slice(from - 1, from - 1 + limit), `${limit} from ${from}`);
  }
});

test('the tail of a restore is whole and in order, whatever the sizes of its entries', async (t) => {
  const host = await bulkyHost(t);
  const chars = mixed(5 * TAIL_PAGE_ROWS + 7);
  await use(host, { append: chars });
  assert.equal((await host.send('a', { exit: true }).result).state, 'failed');
  const { tail } = await use(host, {});
  assert.deepEqual(tail!.slice(0, chars.length + 2), asAppended(chars));
  assert.deepEqual(
    tail!.map(([seq]) => seq),
    Array.from({ length: tail!.length }, (_, i) => i + 1),
  );
});

test('whoever follows a history sees all of its large entries, in order', async (t) => {
  const host = await bulkyHost(t);
  const chars = mixed(2 * ENTRIES_PAGE_ROWS);
  await use(host, { append: chars });
  const seen: Sizes = [];
  for (;;) {
    const page = await host.entriesFrom('a', seen.length + 1, ENTRIES_PAGE_ROWS);
    if (page!.length === 0) break;
    let bytes = 0;
    for (const event of page!) {
      assert.ok(event.type === 'entry');
      const size = ((event.entry['text'] as string | undefined) ?? '').length;
      seen.push([event.seq, size]);
      bytes += size;
    }
    assert.ok(page!.length === 1 || bytes <= ENTRIES_PAGE_MAX_BYTES);
  }
  assert.deepEqual(seen, asAppended(chars));
});
