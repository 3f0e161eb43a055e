// The agent of overlap.ts with load 'cpu': it has its thread to itself.

import { overlapping } from './overlap.js';

export default overlapping('cpu');
