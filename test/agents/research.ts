// Does nothing; there for its profile.

import { defineAgent } from '../../src/worker/agent.js';

export default defineAgent({ profile: 'research', load: 'io', run: () => null });
