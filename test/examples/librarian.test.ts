// The librarian example: what it finds, how its index follows the files, and that saving and restoring lose nothing.

import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AgentInterrupted, type AgentContext, type JournalEntry, type StoredEntry } from 'cabana/agent';
import librarian, { type IndexEvent, type IndexResult, type QueryResult } from '../../examples/librarian/agent.js';
import type { Catalogue } from '../../examples/librarian/catalogue.js';
import { cutIntoPassages, PASSAGE_MAX_CHARS } from '../../examples/librarian/passages.js';

// From dist/test/examples/ up to the package's root: fixtures are not compiled.
const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/librarian', import.meta.url));

/** A context as the host gives it, for one agent alone; it records what the agent does. */
class RecordingContext implements AgentContext<Catalogue> {
  readonly sessionId = 'librarian-test';
  state!: Catalogue;
  readonly signal = new AbortController().signal;
  readonly resumed = false;
  readonly entries: StoredEntry[] = [];
  readonly progressSeen: [number, string | undefined][] = [];
  readonly warnings: string[] = [];
  checkpoints = 0;
  yields = 0;
  /** The checkpoint at which the run is asked to stop. */
  stopAt = Infinity;
  readonly log = {
    debug: (): void => undefined,
    info: (): void => undefined,
    warn: (message: string): void => void this.warnings.push(message),
    error: (message: string): void => assert.fail(message),
  };
  readonly history;

  constructor(
    readonly workingDir: string | null = null,
    readonly params: Readonly<Record<string, unknown>> = {},
  ) {
    const { entries } = this;
    this.history = {
      append: (entry: JournalEntry): void => {
        // Through JSON: an entry must survive being stored.
        const stored = JSON.parse(JSON.stringify(entry)) as JournalEntry;
        assert.deepEqual(stored, entry);
        entries.push({ ...stored, seq: entries.length + 1, created_at: new Date().toISOString() });
      },
      entries: async function* ({ from = 1, limit = Infinity } = {}): AsyncGenerator<StoredEntry, undefined> {
        yield* entries.slice(from - 1, from - 1 + limit);
      },
      get length(): number {
        return entries.length;
      },
      get durableSeq(): number {
        return entries.length;
      },
      durable: async (): Promise<void> => undefined,
    };
  }

  checkpoint(): void {
    if (++this.checkpoints >= this.stopAt) throw new AgentInterrupted();
  }
  async yield(): Promise<void> {
    this.yields++;
  }
  emit(): void {
    assert.fail('the librarian yields its events');
  }
  progress(fraction: number, label?: string): void {
    this.progressSeen.push([fraction, label]);
  }
  report(): void {
    assert.fail('the librarian has nothing to report');
  }
  rename(): void {
    assert.fail('the librarian does not name its session');
  }
}

async function started(workingDir: string | null = null, params: Record<string, unknown> = {}) {
  const ctx = new RecordingContext(workingDir, params);
  assert.ok(librarian.start);
  ctx.state = await librarian.start(ctx);
  return ctx;
}

async function run(ctx: RecordingContext, input: unknown): Promise<{ events: IndexEvent[]; output: unknown }> {
  const steps = librarian.run(ctx, input) as AsyncGenerator<IndexEvent, unknown>;
  const events: IndexEvent[] = [];
  for (;;) {
    const step = await steps.next();
    if (step.done === true) return { events, output: step.value };
    events.push(step.value);
  }
}

async function index(ctx: RecordingContext, folder: string, more: object = {}): Promise<IndexResult> {
  return (await run(ctx, { index: folder, ...more })).output as IndexResult;
}

async function query(ctx: RecordingContext, text: string, limit?: number): Promise<QueryResult> {
  return (await run(ctx, limit === undefined ? { query: text } : { query: text, limit })).output as QueryResult;
}

/** What the host does between two lives of an agent: the snapshot crosses threads, the tail comes from the store. */
async function reborn(ctx: RecordingContext, saved: unknown, tail: StoredEntry[]): Promise<RecordingContext> {
  const next = new RecordingContext(ctx.workingDir, ctx.params);
  assert.ok(librarian.restore);
  next.state = await librarian.restore(next, structuredClone(saved) as Catalogue, tail);
  return next;
}

const QUERIES = [
  'queen swarm',
  'tide full moon',
  'boiling water',
  'lava',
  'bees',
  'erupt',
  'fertil soil',
  'hony ferments',
];

async function answers(ctx: RecordingContext): Promise<QueryResult[]> {
  const all: QueryResult[] = [];
  for (const text of QUERIES) all.push(await query(ctx, text, 100));
  return all;
}

let folder: string;
const at = (name: string): string => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'librarian-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('librarian: indexing and answering', () => {
  it('ranks the passage that is about the query first', async () => {
    const ctx = await started();
    await index(ctx, FIXTURES);
    const { hits, total } = await query(ctx, 'swarming queen');
    assert.equal(hits[0]?.file, join(FIXTURES, 'bees.md'));
    assert.equal(hits[0].heading, 'Swarming');
    assert.ok(hits[0].text.includes('the old queen leaves'));
    assert.ok(total >= hits.length);
    for (const [i, hit] of hits.entries()) assert.ok(i === 0 || hit.score <= (hits[i - 1]?.score ?? 0));
  });

  it('tells the heading, the line and the number of a passage', async () => {
    const ctx = await started();
    await index(ctx, FIXTURES);
    const [neap] = (await query(ctx, 'right angles')).hits;
    assert.deepEqual([neap?.heading, neap?.line, neap?.passage], ['Neap tides', 14, 3]);
    const [table] = (await query(ctx, 'tidetable')).hits;
    assert.deepEqual([table?.heading, table?.line], ['Spring tides', 5], 'a # in a code block is no heading');
    const [black] = (await query(ctx, 'milk')).hits;
    assert.deepEqual([black?.heading, black?.line], ['Black tea', 6], 'an underlined heading counts');
    const [herbal] = (await query(ctx, 'herbal')).hits;
    assert.deepEqual([herbal?.text, herbal?.line], ['Herbal tea', 11], 'a heading without text is found as well');
  });

  it('reports what it indexed, its progress, and appends an entry that names the folder', async () => {
    const ctx = await started();
    const { events, output } = await run(ctx, { index: FIXTURES });
    const { ms, ...rest } = output as IndexResult;
    const counts = { indexed: 4, kept: 0, removed: 0, files: 4, passages: 11, skipped: 0 };
    assert.deepEqual(rest, { ...counts, notes: [], folder: FIXTURES });
    assert.ok(Number.isInteger(ms) && ms >= 0);
    assert.deepEqual(events, [{ indexed: 4, of: 4, passages: 11 }]);
    assert.deepEqual(ctx.progressSeen.at(-1), [1, 'indexing']);
    assert.ok(ctx.checkpoints > 4 && ctx.yields >= 4);
    const [entry] = ctx.entries;
    assert.equal(entry?.role, 'assistant');
    assert.match(String(entry.content), /4 files with 11 passages/);
    assert.deepEqual(entry['index'], { folder: FIXTURES, extensions: null });
  });

  it('sends an event every 25 files', async () => {
    for (let i = 0; i < 60; i++) await writeFile(at(`${i}.txt`), `number ${i}`);
    const { events } = await run(await started(), { index: folder });
    assert.deepEqual(
      events.map((event) => event.indexed),
      [25, 50, 60],
    );
  });

  it('takes a relative folder from the working directory', async () => {
    await cp(FIXTURES, at('docs'), { recursive: true });
    const ctx = await started(folder);
    assert.equal((await index(ctx, 'docs')).folder, at('docs'));
    assert.equal((await query(ctx, 'lava')).hits[0]?.file, at('docs/volcanoes.md'));
  });

  it('reads the usual document names by default and others when asked to', async () => {
    await mkdir(at('sub'));
    const names = [
      'a.md',
      'b.markdown',
      'c.TXT',
      'd.rst',
      'README',
      'LICENSE',
      'CHANGELOG',
      'e.ts',
      'OTHER',
      'sub/f.md',
    ];
    for (const name of names) await writeFile(at(name), `the word heliotrope`);
    const ctx = await started();
    assert.equal((await index(ctx, folder)).files, 8);
    const files = (await query(ctx, 'heliotrope')).hits.map((hit) => hit.file.slice(folder.length + 1));
    assert.deepEqual(files, ['CHANGELOG', 'LICENSE', 'README', 'a.md', 'b.markdown', 'c.TXT', 'd.rst', 'sub/f.md']);
    const narrowed = await index(ctx, folder, { extensions: ['ts', '.md'] });
    assert.deepEqual([narrowed.files, narrowed.indexed, narrowed.kept, narrowed.removed], [3, 1, 2, 6]);
  });

  it('gives a bounded excerpt around the match', async () => {
    await writeFile(
      at('long.txt'),
      `${'filler words here. '.repeat(40)}the okapi hides. ${'and more of it. '.repeat(20)}`,
    );
    const ctx = await started();
    await index(ctx, folder);
    const [hit] = (await query(ctx, 'okapi')).hits;
    assert.ok(hit !== undefined && hit.text.length <= 280, hit?.text);
    assert.match(hit.text, /^….*okapi hides.*…$/);
  });
});

describe('librarian: following the files', () => {
  beforeEach(() => cp(FIXTURES, folder, { recursive: true, preserveTimestamps: true }));

  it('keeps unchanged files, replaces changed ones and removes those that are gone', async () => {
    const ctx = await started();
    await index(ctx, folder);
    await writeFile(at('tea.md'), '# Coffee\n\nGrind the beans just before brewing.\n');
    await rm(at('volcanoes.md'));
    await writeFile(at('new.md'), '# Glaciers\n\nIce flows.\n');
    const again = await index(ctx, folder);
    assert.deepEqual([again.indexed, again.kept, again.removed, again.files], [2, 2, 1, 4]);
    assert.equal((await query(ctx, 'lava')).total, 0);
    assert.equal((await query(ctx, 'milk')).total, 0);
    assert.equal((await query(ctx, 'beans brewing')).hits[0]?.heading, 'Coffee');
    assert.equal((await query(ctx, 'glaciers')).total, 1);
    const fresh = await started();
    await index(fresh, folder);
    assert.deepEqual(await answers(ctx), await answers(fresh), 'an index that followed equals one made anew');
  });

  it('reads a file again when only its mtime differs', async () => {
    const ctx = await started();
    await index(ctx, folder);
    await utimes(at('bees.md'), 1_000, 1_000);
    const again = await index(ctx, folder);
    assert.deepEqual([again.indexed, again.kept], [1, 3]);
  });

  it('leaves the files of other folders alone', async () => {
    await mkdir(at('one'));
    await mkdir(at('one-more'));
    await writeFile(at('one/a.md'), 'heliotrope');
    await writeFile(at('one-more/b.md'), 'heliotrope');
    const ctx = await started();
    await index(ctx, at('one-more'));
    await index(ctx, at('one'));
    await rm(at('one/a.md'));
    assert.equal((await index(ctx, at('one'))).removed, 1);
    assert.equal((await query(ctx, 'heliotrope')).hits[0]?.file, at('one-more/b.md'));
  });

  it('stays as it was when the folder to index is gone', async () => {
    const ctx = await started();
    await index(ctx, folder);
    await rm(folder, { recursive: true });
    await assert.rejects(index(ctx, folder), /there is no such folder/);
    assert.ok((await query(ctx, 'lava')).total > 0);
  });
});

describe('librarian: interruption', () => {
  beforeEach(async () => {
    await cp(FIXTURES, folder, { recursive: true, preserveTimestamps: true });
    const chapters = Array.from({ length: 120 }, (_, i) => `# Chapter ${i}\n\nThe bees of chapter ${i}.\n`);
    await writeFile(at('novel.md'), chapters.join('\n'));
  });

  it('is left consistent by an interruption at any checkpoint, and continues to the same index', async () => {
    const whole = await started();
    await index(whole, folder);
    const expected = await answers(whole);
    const checkpoints = whole.checkpoints - QUERIES.length;
    assert.ok(checkpoints > 8, 'there are checkpoints within a large file');
    for (let stopAt = 1; stopAt <= checkpoints; stopAt++) {
      const ctx = await started();
      ctx.stopAt = stopAt;
      await assert.rejects(index(ctx, folder), AgentInterrupted);
      assert.deepEqual(ctx.entries, [], 'the history does not claim what was not finished');
      ctx.stopAt = Infinity;
      const partly = await answers(ctx);
      assert.ok(partly.every(({ total }, i) => total <= (expected[i]?.total ?? 0)));
      // What was indexed so far also survives leaving memory.
      const next = await reborn(ctx, librarian.save?.(ctx), []);
      assert.deepEqual(await answers(next), partly);
      await index(next, folder);
      assert.deepEqual(await answers(next), expected);
    }
  });

  it('keeps what it had read: the next run does not read it again', async () => {
    const ctx = await started();
    ctx.stopAt = 5;
    await assert.rejects(index(ctx, folder), AgentInterrupted);
    const done = ctx.state.paths().filter((path) => ctx.state.file(path)?.complete).length;
    assert.ok(done > 0);
    ctx.stopAt = Infinity;
    const again = await index(ctx, folder);
    assert.deepEqual([again.kept, again.indexed], [done, 5 - done]);
  });

  it('ends up right when the replacement of a file was interrupted', async () => {
    const ctx = await started();
    await index(ctx, folder);
    await writeFile(at('novel.md'), Array.from({ length: 130 }, (_, i) => `# Part ${i}\n\nWasps.\n`).join('\n'));
    await rm(at('bees.md'));
    const fresh = await started();
    await index(fresh, folder);
    for (let more = 1; more < 20; more++) {
      ctx.stopAt = ctx.checkpoints + more;
      const outcome = await index(ctx, folder).then(
        () => 'done',
        () => 'interrupted',
      );
      ctx.stopAt = Infinity;
      await answers(ctx);
      if (outcome === 'done') break;
    }
    assert.equal((await query(ctx, 'wasps')).total, 130);
    assert.deepEqual(await answers(ctx), await answers(fresh));
  });
});

describe('librarian: saving and restoring', () => {
  beforeEach(() => cp(FIXTURES, folder, { recursive: true, preserveTimestamps: true }));

  it('answers alike after its state was saved, cloned and restored', async () => {
    const ctx = await started();
    await index(ctx, folder);
    const next = await reborn(ctx, librarian.save?.(ctx), []);
    assert.deepEqual(await answers(next), await answers(ctx));
    const again = await index(next, folder);
    assert.deepEqual([again.indexed, again.kept], [0, 4], 'the file table is restored as well');
    const sizes = [ctx, next].map((each) => JSON.stringify(librarian.save?.(each)).length);
    assert.equal(sizes[1], sizes[0], 'a state does not grow by being saved and restored');
  });

  it('indexes again what the tail says was indexed after the save', async () => {
    await mkdir(at('late'));
    await writeFile(at('late/glaciers.md'), '# Glaciers\n\nIce flows.\n');
    await writeFile(at('late/notes.log'), 'glacier log');
    const ctx = await started();
    await index(ctx, FIXTURES);
    const saved: unknown = structuredClone(librarian.save?.(ctx));
    const savedAt = ctx.entries.length;
    await index(ctx, at('late'), { extensions: ['.log'] });
    await query(ctx, 'lava');
    await index(ctx, at('late'), { extensions: ['.log', '.md'] });
    const next = await reborn(ctx, saved, ctx.entries.slice(savedAt));
    assert.equal((await query(next, 'glacier')).total, 2);
    assert.deepEqual(await answers(next), await answers(ctx));
    assert.ok(next.yields > 0);
  });

  it('rebuilds everything from the history when nothing was saved', async () => {
    const ctx = await started();
    await index(ctx, folder);
    assert.deepEqual(await answers(await reborn(ctx, undefined, ctx.entries)), await answers(ctx));
  });

  it('does not index what was only asked for, and survives a folder that is gone', async () => {
    const stored = { created_at: new Date().toISOString() };
    const ctx = await started();
    const next = await reborn(ctx, undefined, [
      { ...stored, seq: 1, role: 'user', content: { index: folder }, index: { folder } },
      { ...stored, seq: 2, role: 'assistant', content: 'Indexed', index: { folder: at('gone'), extensions: null } },
    ]);
    assert.equal(next.state.files, 0);
    assert.equal(next.warnings.length, 1);
  });

  it('refuses a state that is not its own', async () => {
    const ctx = await started();
    await assert.rejects(reborn(ctx, { format: 2 }, []), /not a catalogue/);
  });
});

describe('librarian: bounds and bad input', () => {
  it('says what is wrong with an input', async () => {
    const ctx = await started();
    const cases: [unknown, RegExp][] = [
      [undefined, /takes \{ index/],
      ['lava', /takes \{ index/],
      [['lava'], /takes \{ index/],
      [{}, /either/],
      [{ index: '.', query: 'x' }, /either/],
      [{ qeury: 'x' }, /does not know the field qeury/],
      [{ index: 7 }, /path of a folder/],
      [{ index: '' }, /path of a folder/],
      [{ index: 'a\0b' }, /zero byte/],
      [{ index: '.', limit: 3 }, /limit belongs/],
      [{ index: '.', extensions: [] }, /extensions must be/],
      [{ index: '.', extensions: ['../x'] }, /extensions must be/],
      [{ index: join(FIXTURES, 'tea.md') }, /is not a folder/],
      [{ index: join(FIXTURES, 'none') }, /no such folder/],
      [{ query: '  ' }, /not empty/],
      [{ query: 3 }, /not empty/],
      [{ query: 'x'.repeat(1_001) }, /longer than 1000/],
      [{ query: 'x', extensions: ['.md'] }, /extensions belongs/],
      [{ query: 'x', limit: 0 }, /from 1 to 100/],
      [{ query: 'x', limit: 101 }, /from 1 to 100/],
      [{ query: 'x', limit: 2.5 }, /from 1 to 100/],
    ];
    for (const [input, message] of cases) await assert.rejects(run(ctx, input), { message }, JSON.stringify(input));
    assert.deepEqual(ctx.entries, []);
  });

  it('gives no more hits than asked for, and counts all of them', async () => {
    for (let i = 0; i < 30; i++) await writeFile(at(`${i}.md`), 'heliotrope');
    const ctx = await started();
    await index(ctx, folder);
    const found = [
      await query(ctx, 'heliotrope'),
      await query(ctx, 'heliotrope', 3),
      await query(ctx, 'heliotrope', 100),
    ];
    assert.deepEqual(
      found.map(({ hits, total }) => [hits.length, total]),
      [
        [10, 30],
        [3, 30],
        [30, 30],
      ],
    );
  });

  it('leaves out large files, binary files and symbolic links, and says so', async () => {
    await writeFile(at('a.md'), 'heliotrope');
    await writeFile(at('huge.txt'), 'heliotrope '.repeat(200_000));
    await writeFile(at('binary.txt'), Buffer.from([104, 0, 105]));
    await symlink(at('a.md'), at('link.md'));
    await symlink(FIXTURES, at('elsewhere'));
    const ctx = await started();
    const { files, skipped, notes } = await index(ctx, folder);
    assert.deepEqual([files, skipped], [1, 3]);
    assert.deepEqual(notes.sort(), [
      '1 file skipped: a symbolic link',
      '1 file skipped: not text',
      '1 file skipped: too large (over 2097152 bytes)',
    ]);
  });

  it('stops at the limits of its session and says so', async () => {
    for (let i = 0; i < 9; i++) await writeFile(at(`${i}.md`), '# One\n\nheliotrope\n\n# Two\n\nheliotrope\n');
    const few = await index(await started(null, { maxFiles: 4 }), folder);
    assert.deepEqual([few.files, few.passages, few.notes], [4, 8, ['stopped after 4 files: that is the limit']]);
    const ctx = await started(null, { maxPassages: 7 });
    const short = await index(ctx, folder);
    assert.deepEqual([short.files, short.passages, short.skipped], [3, 6, 6]);
    assert.deepEqual(short.notes, ['6 files skipped: beyond the limits']);
    await rm(at('0.md'));
    assert.equal((await index(ctx, folder)).files, 3, 'the room of a removed file is used');
    await writeFile(at('00.md'), '# Nine\n'.repeat(9));
    assert.equal((await index(ctx, folder)).files, 3, 'a file that can never fit does not keep out the others');
    await assert.rejects(index(await started(null, { maxFiles: 0 }), folder), /params.maxFiles/);
  });

  it('cuts long paragraphs and endless lines without losing or breaking a character', () => {
    const emoji = '🐝'.repeat(2_000);
    const words = Array.from({ length: 900 }, (_, i) => `word${i}`).join(' ');
    const passages = cutIntoPassages(`# Long\n\n${emoji}\n\n${words}\n`, 'markdown');
    assert.ok(passages.length > 5);
    for (const { text } of passages) {
      assert.ok(text.length <= PASSAGE_MAX_CHARS + 1);
      assert.equal(Buffer.from(text).toString(), text, 'no half of a surrogate pair');
    }
    const joined = passages.map((passage) => passage.text).join(' ');
    assert.equal(joined.match(/🐝/gu)?.length, 2_000);
    assert.deepEqual(joined.match(/word\d+/g), words.split(' '));
  });

  it('reads headings of reStructuredText, and takes no front matter or separator for one', () => {
    const headings = (text: string, style: 'markdown' | 'rst' | 'plain'): string[] =>
      cutIntoPassages(text, style).map(({ heading }) => heading);
    assert.deepEqual(headings('=====\nTitle\n=====\n\nText.\n\nPart\n~~~~\n\nMore.\n', 'rst'), ['Title', 'Part']);
    assert.deepEqual(headings('---\ntitle: x\n---\n\n# Real\n\nText.\n', 'markdown'), ['', 'Real']);
    assert.deepEqual(headings('A whole sentence of a text.\n-----\nNext.\n', 'plain'), ['']);
  });
});
