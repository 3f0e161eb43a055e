// The echo as a task of Piscina and Tinypool.

import { echo } from './echo.js';

export default echo;
