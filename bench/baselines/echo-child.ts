// The echo in a child process, over its IPC channel.

import { echo, type Call } from './echo.js';

process.on('message', (call: Call) => process.send!(echo(call)));
