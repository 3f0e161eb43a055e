// The same CPU work as the benchmarks' agent, in a process of its own: what one child per agent costs.

import hash from './hash-worker.js';

process.on('message', (rounds: number) => process.send!(hash(rounds)));
process.on('disconnect', () => process.exit(0));
process.send!('ready');
