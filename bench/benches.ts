// Every benchmark, in the order of a full run.

import { append } from './benches/append.js';
import { boot } from './benches/boot.js';
import { call } from './benches/call.js';
import { events } from './benches/events.js';
import { flush } from './benches/flush.js';
import { interrupt } from './benches/interrupt.js';
import { lag } from './benches/lag.js';
import { list } from './benches/list.js';
import { makespan } from './benches/makespan.js';
import { memory } from './benches/memory.js';
import { neighbours } from './benches/neighbours.js';
import { restore } from './benches/restore.js';
import { status } from './benches/status.js';
import type { Bench } from './harness.js';

export const BENCHES: readonly Bench[] = [
  call,
  events,
  makespan,
  lag,
  status,
  list,
  append,
  flush,
  restore,
  memory,
  boot,
  interrupt,
  neighbours,
];
