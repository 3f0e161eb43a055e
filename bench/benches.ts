// Every benchmark, in the order of a full run.

import { boot } from './benches/boot.js';
import { call } from './benches/call.js';
import { events } from './benches/events.js';
import { interrupt } from './benches/interrupt.js';
import { list } from './benches/list.js';
import { memory } from './benches/memory.js';
import { status } from './benches/status.js';
import type { Bench } from './harness.js';

export const BENCHES: readonly Bench[] = [call, events, status, list, boot, memory, interrupt];
