// A thread of the endpoint's tests: answers calls, until it is asked one that it never answers.

import { workerData, type MessagePort } from 'node:worker_threads';
import { answerCalls } from '../../src/protocol/calls.js';
import { BatchEndpoint } from '../../src/protocol/endpoint.js';

export interface ThreadCalls {
  double(n: number): number;
  never(): Promise<void>;
}

if (workerData) {
  const calls: ThreadCalls = { double: (n) => 2 * n, never: () => new Promise(() => undefined) };
  answerCalls<ThreadCalls>(calls, ['double', 'never'], new BatchEndpoint((workerData as { port: MessagePort }).port));
}
