// The Piscina task of an agent thread: one long-lived serve() per thread. Its settling is the thread's death notice.

import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { resourceLimits } from 'node:worker_threads';
import { answerCalls } from '../protocol/calls.js';
import { AGENT_THREAD_CALLS, type AgentThreadCalls, type AgentThreadTask } from '../protocol/control.js';
import { BatchEndpoint } from '../protocol/endpoint.js';
import { HEARTBEAT_INTERVAL_MS } from '../protocol/limits.js';
import { StatusTable } from '../protocol/status-table.js';
import { AgentHost } from './agent-host.js';
import { Blame } from './blame.js';
import { CpuClock } from './cpu-clock.js';
import { EventSender } from './event-sender.js';
import { JournalLink } from './journal-link.js';
import { NoteWindow } from './note-window.js';
import { clearInterval, setImmediate, setInterval } from './platform.js';
import { ThreadHold } from './thread-hold.js';

/** Resolves when main has shut the thread down. */
export async function serve(task: AgentThreadTask): Promise<void> {
  const endpoint = new BatchEndpoint(task.control);
  const table = new StatusTable(task.table);
  const cpu = new CpuClock();
  const link = new JournalLink(task.journal, task.ring);
  const blame = new Blame(table, task.thread);
  const events = new EventSender(endpoint, new NoteWindow(task.noteCounter, task.noteWindowBytes));
  const hold = new ThreadHold(table, task.thread, cpu);
  const services = { thread: task.thread, table, link, events, cpu, hold, blame };
  let stopHeartbeat = (): void => undefined;
  await new Promise<void>((resolve) => {
    const host = new AgentHost(task, services, resolve);
    stopHeartbeat = startHeartbeat(table, task.thread, host, cpu);
    answerCalls<AgentThreadCalls>(host, AGENT_THREAD_CALLS, endpoint);
  });
  events.settleAll();
  // The answer to shutdown() leaves in this turn; the ports close after it.
  await new Promise((resolve) => setImmediate(resolve));
  endpoint.flush();
  stopHeartbeat();
  cpu.close();
}

/** Shows main that this thread's event loop turns, how busy it is, and how full its heap. @returns what ends it */
function startHeartbeat(table: StatusTable, thread: number, host: AgentHost, cpu: CpuClock): () => void {
  let last = performance.eventLoopUtilization();
  const beat = (): void => {
    const now = performance.eventLoopUtilization();
    table.setThread(thread, 'elu', performance.eventLoopUtilization(now, last).utilization);
    last = now;
    const heap = getHeapStatistics();
    table.setThread(thread, 'heapUsedBytes', heap.used_heap_size);
    // Of the old generation: heap_size_limit counts room that a thread does not get.
    const limitMb = resourceLimits.maxOldGenerationSizeMb;
    table.setThread(thread, 'heapLimitBytes', limitMb ? limitMb * 1024 * 1024 : heap.heap_size_limit);
    table.setThread(thread, 'cpuMs', cpu.now());
    table.setThread(thread, 'sessions', host.size);
    table.setThread(thread, 'heartbeat', (table.getThread(thread, 'heartbeat') + 1) | 0);
  };
  beat();
  const timer = setInterval(beat, HEARTBEAT_INTERVAL_MS).unref();
  return () => clearInterval(timer);
}
