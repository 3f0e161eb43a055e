// Does nothing; there for its profile, which the session list treats in a way of its own.

import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent({ profile: 'coding', load: 'io', run: () => null });
