// The house rules of the design, held by a test: which way imports run, how long a file is, the table of states, and
// the documentation of the error codes.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve, dirname, sep } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TRANSITIONS, assertTransition } from '../../src/main/registry/sessions/state.js';
import { ERROR_CODES } from '../../src/protocol/errors.js';
import { SESSION_STATES, type SessionState } from '../../src/protocol/session-state.js';

// From dist/test/architecture/ up to the package's root.
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const SRC = join(ROOT, 'src');
const FILE_MAX_LINES = 400;

interface Source {
  /** Path from src, with forward slashes. */
  path: string;
  text: string;
  /** Specifiers of packages and of Node's modules. */
  packages: string[];
  /** Files of src that are imported, types included. */
  files: string[];
}

const IMPORT = /^(?:import|export)\b[^;'"]*?\bfrom\s+'([^']+)'|^import\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm;

const slashes = (path: string): string => path.split(sep).join('/');

function parse(path: string): Source {
  const text = readFileSync(join(SRC, path), 'utf8');
  const specifiers = [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]!);
  const files = specifiers
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => slashes(relative(SRC, resolve(SRC, dirname(path), specifier))).replace(/\.js$/, '.ts'));
  return { path, text, packages: specifiers.filter((specifier) => !specifier.startsWith('.')), files };
}

const sources = new Map(
  readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [slashes(path), parse(slashes(path))]),
);

/** `importer -> imported` for every import within src that `forbidden` says must not be. */
function offenders(forbidden: (from: string, to: string) => boolean): string[] {
  return [...sources.values()].flatMap(({ path, files }) =>
    files.filter((file) => forbidden(path, file)).map((file) => `${path} -> ${file}`),
  );
}

test('every import within src is understood', () => {
  assert.ok(sources.size > 40);
  let imports = 0;
  for (const { path, files, packages, text } of sources.values()) {
    for (const file of files) assert.ok(sources.has(file), `${path} imports ${file}`);
    imports += files.length;
    const statements = text.match(/^import\b/gm) ?? [];
    assert.ok(packages.length + files.length >= statements.length, `an import of ${path} was not understood`);
  }
  assert.ok(imports > 150);
});

test('protocol imports nothing of main or worker', () => {
  assert.deepEqual(
    offenders((from, to) => from.startsWith('protocol/') && !to.startsWith('protocol/')),
    [],
  );
});

test('protocol needs no package but msgpackr and comlink', () => {
  const packages = [...sources.values()]
    .filter(({ path }) => path.startsWith('protocol/'))
    .flatMap((source) => source.packages)
    .filter((name) => !name.startsWith('node:'));
  assert.deepEqual([...new Set(packages)].sort(), ['comlink', 'msgpackr']);
});

test('main and worker never import each other, not even a type', () => {
  const side = (path: string): string => path.split('/')[0]!;
  const across = (from: string, to: string): boolean =>
    (side(from) === 'main' && side(to) === 'worker') || (side(from) === 'worker' && side(to) === 'main');
  assert.deepEqual(offenders(across), []);
});

test('there is no cycle among the imports, those of types included', () => {
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): string[] | null => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return null;
    for (const file of sources.get(path)?.files ?? []) {
      const cycle = visit(file, [...trail, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return null;
  };
  for (const path of sources.keys()) assert.equal(visit(path, [])?.join(' -> '), undefined);
});

test('the rooms of the registry import one another one way, and none the files above them', () => {
  const ROOMS = ['events', 'sessions', 'lifecycle', 'runs', 'views'];
  const floor = (path: string): number => {
    const [main, registry, room, file] = path.split('/');
    if (main !== 'main' || registry !== 'registry') return -1;
    if (file === undefined) return ROOMS.length;
    assert.ok(ROOMS.includes(room!), `${path} has a place in the order`);
    return ROOMS.indexOf(room!);
  };
  assert.deepEqual(
    offenders((from, to) => floor(from) >= 0 && floor(to) > floor(from)),
    [],
  );
});

test('worker-pool.ts alone imports piscina', () => {
  const importers = [...sources.values()].filter(({ packages }) => packages.includes('piscina'));
  assert.deepEqual(
    importers.map(({ path }) => path),
    ['main/pool/worker-pool.ts'],
  );
});

test('nobody inside imports the public face', () => {
  assert.ok(sources.has('main/index.ts'));
  assert.deepEqual(
    offenders((_from, to) => to === 'main/index.ts'),
    [],
  );
});

test('no source file is longer than 400 lines', () => {
  const long = [...sources.values()]
    .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > FILE_MAX_LINES);
  assert.deepEqual(long, []);
});

// A session that cannot be saved goes back from flushing to idle: it is the one move that the design's table lacks.
const STATE_TABLE: Record<SessionState, SessionState[]> = {
  cold: ['restoring'],
  restoring: ['idle', 'failed'],
  idle: ['running', 'flushing', 'failed'],
  running: ['idle', 'interrupting', 'failed'],
  interrupting: ['idle', 'flushing', 'failed'],
  flushing: ['cold', 'idle', 'failed'],
  failed: ['restoring', 'cold'],
};

test('a session moves between its states as the table says, and any other move is an assertion failure', () => {
  assert.deepEqual(Object.keys(TRANSITIONS), [...SESSION_STATES]);
  for (const from of SESSION_STATES) {
    for (const to of SESSION_STATES) {
      if (STATE_TABLE[from].includes(to)) assert.doesNotThrow(() => assertTransition(from, to));
      else assert.throws(() => assertTransition(from, to), new RegExp(`a ${from} session cannot become ${to}`));
    }
  }
  assert.deepEqual(TRANSITIONS, STATE_TABLE);
});

test('every state is reached from cold, and cold from every state', () => {
  const reached = (start: SessionState): Set<SessionState> => {
    const seen = new Set([start]);
    for (const state of seen) for (const next of TRANSITIONS[state]) seen.add(next);
    return seen;
  };
  assert.deepEqual([...reached('cold')].sort(), [...SESSION_STATES].sort());
  for (const state of SESSION_STATES) assert.ok(reached(state).has('cold'), state);
});

test('docs/errors.md lists every code with its status, whether to retry, and its meaning; and no other', () => {
  const rows = readFileSync(join(ROOT, 'docs', 'errors.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .map((cell) => cell.trim())
        .slice(1, -1),
    );
  const expected = Object.entries(ERROR_CODES).map(([code, { status, retryable, meaning }]) => [
    `\`${code}\``,
    String(status),
    retryable ? 'yes' : 'no',
    meaning,
  ]);
  assert.deepEqual(rows, expected);
});
