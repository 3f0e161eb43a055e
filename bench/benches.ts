// Every benchmark, in the order of a full run.

import { interrupt } from './benches/interrupt.js';
import type { Bench } from './harness.js';

export const BENCHES: readonly Bench[] = [interrupt];
