// Both ends of a thread's link in one thread: a store on disk with the sessions `a` and `b`, whose commits can be held up.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import type { CabanaError } from '../../src/protocol/errors.js';
import { newJournalRing } from '../../src/protocol/journal-ring.js';
import { StatusTable } from '../../src/protocol/status-table.js';
import { History } from '../../src/worker/history.js';
import { JournalLink } from '../../src/worker/journal-link.js';
import { GroupCommitter } from '../../src/worker/store/committer.js';
import { Links } from '../../src/worker/store/links.js';
import { SqliteStore } from '../../src/worker/store/sqlite-store.js';
import type { Store } from '../../src/worker/store/store.js';
import { tempDir } from '../support/temp.js';
import { AT, create, record } from './records.js';

/** @param onFatal by default a failure of the storage is the test's */
export async function linked(t: TestContext, onFatal: (error: CabanaError) => void = (error) => assert.fail(error)) {
  const path = join(tempDir(t), 'cabana.db');
  const sqlite = new SqliteStore(path);
  await create(sqlite, record('a'), record('b'));
  const table = new StatusTable();
  const places = { a: { slot: 0, generation: table.clearRow(0) }, b: { slot: 1, generation: table.clearRow(1) } };
  const gate = { closed: Promise.resolve() };
  const store = new Proxy<Store>(sqlite, {
    get: (target, name: keyof Store) => {
      if (name !== 'commit') return (target[name] as () => unknown).bind(target);
      return async (ops: Parameters<Store['commit']>[0]) => {
        await gate.closed;
        return target.commit(ops);
      };
    },
  });
  const committer = new GroupCommitter(store, {
    collect: () => links.collect(),
    awaitMore: () => links.awaitMore(),
    onBatch: () => links.tellAll(),
    onFatal: (error) => {
      onFatal(error);
      links.sleep();
    },
  });
  const links = new Links(store, committer, table, () => undefined);
  const { port1, port2 } = new MessageChannel();
  const ring = newJournalRing();
  links.attach(0, port2, ring);
  const link = new JournalLink(port1, ring);
  t.after(async () => {
    port1.close();
    await committer.close();
    await sqlite.close();
  });
  const activate = async (id: 'a' | 'b' = 'a'): Promise<History> => {
    const { slot } = places[id];
    const loaded = (await link.load(id, places[id], (row) => row))!;
    return new History(link, table, { key: loaded.key, epoch: loaded.epoch, slot }, () => AT, {
      onRefused: () => undefined,
    });
  };
  return { sqlite, table, links, link, activate, gate, path };
}
