// The agent of overlap.ts with load 'io': it shares its thread.

import { overlapping } from './overlap.js';

export default overlapping('io');
