// Every benchmark, in the order of a full run.

import { append } from './benches/append.js';
import { flush } from './benches/flush.js';
import { interrupt } from './benches/interrupt.js';
import { lag } from './benches/lag.js';
import { makespan } from './benches/makespan.js';
import { restore } from './benches/restore.js';
import type { Bench } from './harness.js';

export const BENCHES: readonly Bench[] = [interrupt, makespan, lag, append, flush, restore];
