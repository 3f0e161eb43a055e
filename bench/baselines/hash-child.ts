// The same CPU work as the benchmarks' agent, in a process of its own: what one child per agent costs.

import hash, { type HashTask } from './hash-worker.js';

process.on('message', (task: HashTask) => process.send!(hash(task)));
process.on('disconnect', () => process.exit(0));
process.send!('ready');
