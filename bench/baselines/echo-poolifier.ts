// The echo as a poolifier worker.

import { ThreadWorker } from 'poolifier';
import { echo, type Call } from './echo.js';

export default new ThreadWorker<Call, Call>((call) => echo(call!));
