// Pure parts of main: placement, mailbox, subscriptions, and the table of states.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AFFINITY_MAX_SKIPS,
  AFFINITY_WINDOW,
  LINE_WINDOW,
  isCritical,
  leastBusy,
  pickDue,
  placeRun,
  type ThreadLoad,
} from '../../src/main/pool/placement.js';
import { Mailbox } from '../../src/main/registry/sessions/mailbox.js';
import { Run } from '../../src/main/registry/sessions/run.js';
import { TRANSITIONS } from '../../src/main/registry/sessions/state.js';
import { EventStream } from '../../src/main/registry/events/event-stream.js';
import { Subscriptions } from '../../src/main/registry/events/subscriptions.js';
import { SESSION_STATES } from '../../src/protocol/session-state.js';

const thread = (sessions: number, cpuBusy = false, alive = true): ThreadLoad => ({
  alive,
  cpuBusy,
  retiring: false,
  forSuspects: false,
  sessions,
});
const due = (home: ThreadLoad | null, movable = true, load: 'cpu' | 'io' = 'cpu', backlog = 1) => ({
  home,
  movable,
  load,
  backlog,
  skips: 0,
  homebound: false,
  suspect: false,
  leaving: false,
  suits: () => true,
});

test('the least busy thread is alive, without a cpu run if there is one, with the fewest sessions', () => {
  const [full, empty, busy, dead] = [thread(9), thread(3), thread(0, true), thread(0, false, false)];
  assert.equal(leastBusy([full, empty, busy, dead]), empty);
  assert.equal(leastBusy([busy, full]), full);
  assert.equal(leastBusy([thread(5, true), busy, dead]), busy);
  assert.equal(leastBusy([dead]), null);
  assert.equal(leastBusy([]), null);
});

test('a run stays at home while its home is free, moves when it is busy, and waits when it cannot', () => {
  const [home, free, busy] = [thread(9), thread(0), thread(0, true)];
  const busyHome = thread(1, true);
  assert.equal(placeRun(due(home), [free, home]), home);
  assert.equal(placeRun(due(busyHome), [busyHome, free]), free);
  assert.equal(placeRun(due(busyHome, false), [busyHome, free]), null);
  assert.equal(placeRun(due(busyHome), [busyHome, busy]), null);
  assert.equal(placeRun(due(null), [busy, home, free]), free);
  assert.equal(placeRun(due(thread(0, false, false), false), [home]), home);
  assert.equal(placeRun(due(null), []), null);
});

test('an io run goes to its home, or to the least busy thread if it has none', () => {
  const [home, free] = [thread(9), thread(0)];
  assert.equal(placeRun(due(home, true, 'io'), [free, home]), home);
  assert.equal(placeRun(due(null, true, 'io'), [home, free]), free);
  assert.equal(placeRun(due(thread(0, false, false), true, 'io'), [home]), home);
  assert.equal(placeRun(due(null, true, 'io'), [thread(0, false, false)]), null);
});

test('the oldest due run that may start is picked; one that cannot start holds up nobody', () => {
  const [busy, free] = [thread(1, true), thread(1)];
  const [stuck, next, last] = [due(busy, false), due(free), due(free)];
  assert.deepEqual(pickDue([stuck, next, last], [busy, free]), { due: next, thread: free });
  assert.equal(pickDue([stuck], [busy, free]), null);
  assert.equal(pickDue([], [free]), null);
});

test('a run that would have to move is passed over for a younger one at home, a bounded number of times', () => {
  const [busy, free] = [thread(1, true), thread(1)];
  const mover = due(busy);
  const atHome = due(free);
  for (let skip = 1; skip <= AFFINITY_MAX_SKIPS; skip++) {
    assert.equal(pickDue([mover, atHome], [busy, free])?.due, atHome);
    assert.equal(mover.skips, skip);
  }
  assert.deepEqual(pickDue([mover, atHome], [busy, free]), { due: mover, thread: free });
});

test('the session that moves is the one with the most runs waiting, but the oldest is passed over a bounded number of times', () => {
  const [busy, free] = [thread(1, true), thread(1)];
  const [oldest, long, longest] = [due(busy), due(busy, true, 'cpu', 5), due(busy, true, 'cpu', 9)];
  for (let skip = 1; skip <= AFFINITY_MAX_SKIPS; skip++) {
    assert.deepEqual(pickDue([oldest, long, longest], [busy, free]), { due: longest, thread: free });
    assert.equal(oldest.skips, skip);
  }
  assert.equal(pickDue([oldest, long, longest], [busy, free])?.due, oldest);
});

test('a session is critical when its runs, one after the other, take about as long as the rest on the other threads', () => {
  assert.equal(isCritical(9, 10, 2), true);
  assert.equal(isCritical(8, 10, 2), false);
  assert.equal(isCritical(3, 10, 4), true);
  assert.equal(isCritical(2, 10, 4), false);
  assert.equal(isCritical(1_000, 0, 1), false);
});

test('a run at home is looked for in a bounded part of the line', () => {
  const [busy, free] = [thread(1, true), thread(1)];
  const lineOf = (movers: number) => [...Array.from({ length: movers }, () => due(busy)), due(free)];
  const near = lineOf(AFFINITY_WINDOW);
  assert.equal(pickDue(near, [busy, free])?.due, near.at(-1));
  const far = lineOf(AFFINITY_WINDOW + 2);
  assert.equal(pickDue(far, [busy, free])?.due, far[0]);
});

test('of threads that are as busy the one that suits is taken', () => {
  const [few, many, busy] = [thread(1), thread(9), thread(0, true)];
  assert.equal(
    leastBusy([few, many], (candidate) => candidate === many),
    many,
  );
  assert.equal(
    leastBusy([few, busy], (candidate) => candidate === busy),
    few,
  );
});

test('a suspect’s run begins on the threads for suspects only; at home too', () => {
  const [few, many, theirs] = [thread(1), thread(9), { ...thread(9), forSuspects: true }];
  const suspect = (home: ThreadLoad | null, movable = true) => ({ ...due(home, movable), suspect: true });
  assert.equal(placeRun(suspect(null), [few, theirs]), theirs);
  assert.equal(placeRun(suspect(null), [few, many]), null);
  assert.equal(placeRun(suspect(few), [few, theirs]), theirs);
  assert.equal(placeRun(suspect(few, false), [few, theirs]), null);
  assert.equal(pickDue([suspect(null), due(null)], [few, { ...theirs, cpuBusy: true }])?.thread, few);
  assert.equal(placeRun(due(null), [theirs]), theirs);
});

test('nothing begins on a retiring thread, but the run of a session that cannot be saved', () => {
  const [retiring, other] = [{ ...thread(1), retiring: true }, thread(9)];
  for (const load of ['cpu', 'io'] as const) {
    assert.equal(placeRun(due(retiring, true, load), [other]), other);
    assert.equal(placeRun(due(retiring, false, load), [other]), null);
    assert.equal(placeRun({ ...due(retiring, false, load), homebound: true }, [other]), retiring);
  }
  assert.equal(placeRun({ ...due({ ...retiring, cpuBusy: true }, false), homebound: true }, [other]), null);
});

test('one that may run is looked for in a bounded part of the line', () => {
  const [busy, free] = [thread(1, true), thread(1)];
  const lineOf = (stuck: number) => [...Array.from({ length: stuck }, () => due(busy, false)), due(free)];
  const near = lineOf(LINE_WINDOW - 1);
  assert.equal(pickDue(near, [busy, free])?.due, near.at(-1));
  assert.equal(pickDue(lineOf(LINE_WINDOW), [busy, free]), null);
});

const run = (id: string): Run => new Run('s', id, 1, null);

test('a mailbox is first in, first out, and bounded', () => {
  const mailbox = new Mailbox(3);
  const [a, b, c] = [run('a'), run('b'), run('c')];
  for (const each of [a, b, c]) mailbox.push(each);
  assert.throws(() => mailbox.push(run('d')), { code: 'MAILBOX_FULL' });
  assert.deepEqual([mailbox.size, mailbox.head, mailbox.find('b'), mailbox.find('d')], [3, a, b, undefined]);
  assert.equal(mailbox.shift(), a);
  mailbox.unshift(a);
  assert.equal(mailbox.remove(b), true);
  assert.equal(mailbox.remove(b), false);
  assert.deepEqual(mailbox.takeAll(), [a, c]);
  assert.deepEqual([mailbox.size, mailbox.shift(), mailbox.head], [0, undefined, undefined]);
});

const event = (data: number, runId = 'r') => ({ type: 'event', runId, data }) as const;

test('a slow subscriber loses the oldest events, and is told how many before the rest', async () => {
  const stream = new EventStream(() => undefined, 3);
  for (let i = 0; i < 8; i++) stream.push(event(i));
  stream.close();
  const seen: unknown[] = [];
  for await (const each of stream) seen.push(each);
  assert.deepEqual(seen, [{ type: 'gap', missed: 5 }, event(5), event(6), event(7)]);
});

test('a subscriber that waits is woken by an event, and by the end; after return() it sees nothing', async () => {
  let closes = 0;
  const stream = new EventStream(() => closes++);
  const first = stream.next();
  stream.push(event(1));
  assert.deepEqual(await first, { done: false, value: event(1) });
  const second = stream.next();
  stream.close();
  assert.equal((await second).done, true);
  stream.close();
  assert.equal(closes, 1);
  const other = new EventStream(() => undefined);
  other.push(event(1));
  await other.return();
  other.push(event(2));
  assert.equal((await other.next()).done, true);
});

test('subscribers hear of their own session only, or of one run of it, and are counted', async () => {
  const counts: [string, number][] = [];
  const subscriptions = new Subscriptions({ onWatchers: (id, watchers) => counts.push([id, watchers]) });
  const all = subscriptions.subscribe('a');
  const odd = subscriptions.subscribe('a', 'odd');
  const other = subscriptions.subscribe('b');
  for (let i = 0; i < 4; i++) subscriptions.publish('a', event(i, i % 2 === 1 ? 'odd' : 'even'));
  subscriptions.end('a');
  const read = async (stream: EventStream): Promise<unknown[]> => {
    const seen: unknown[] = [];
    for await (const each of stream) seen.push((each as { data: unknown }).data);
    return seen;
  };
  assert.deepEqual(await read(all), [0, 1, 2, 3]);
  assert.deepEqual(await read(odd), [1, 3]);
  assert.deepEqual([subscriptions.watchers('a'), subscriptions.watchers('b')], [0, 1]);
  subscriptions.endAll();
  assert.deepEqual(await read(other), []);
  assert.deepEqual(counts, [
    ['a', 1],
    ['a', 2],
    ['b', 1],
    ['a', 1],
    ['a', 0],
    ['b', 0],
  ]);
});

test('nothing runs that was not idle, and nothing leaves memory but by being flushed or by failing', () => {
  assert.deepEqual(
    SESSION_STATES.filter((from) => TRANSITIONS[from].includes('running')),
    ['idle'],
  );
  assert.deepEqual(
    SESSION_STATES.filter((from) => TRANSITIONS[from].includes('cold')),
    ['flushing', 'failed'],
  );
});
