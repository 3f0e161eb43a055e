// The least a service on fastify does at its start.

import fastify from 'fastify';

const server = fastify();
server.get('/healthz', async () => ({ status: 'ok' }));
const url = await server.listen({ host: '127.0.0.1', port: 0 });
process.stdout.write(`ready on ${url}\n`);
