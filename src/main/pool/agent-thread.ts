// One incarnation of an agent thread: its calls, its life, and what main has put there.

import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { remote, type Remote } from '../../protocol/calls.js';
import {
  AGENT_THREAD_CALLS,
  newNoteCounter,
  type AgentThreadCalls,
  type AgentThreadTask,
  type AgentThreadNote,
  type WeighedNote,
} from '../../protocol/control.js';
import { BatchEndpoint } from '../../protocol/endpoint.js';
import { CabanaError, messageOf, type ErrorCode } from '../../protocol/errors.js';
import { newJournalRing } from '../../protocol/journal-ring.js';
import type { StatusTable } from '../../protocol/status-table.js';
import { PacedPort } from './paced-port.js';
import type { Thread } from './worker-pool.js';

export interface AgentThreadOptions {
  /** The thread's number: its block in the status table. A replacement has the same. */
  no: number;
  /** Whether suspects' runs may begin there. */
  forSuspects: boolean;
  /** New, or prepared. */
  thread: Thread;
  table: StatusTable;
  agents: readonly string[];
  /** The thread's nice value: how much it yields to others on a busy core. null: the process's. */
  nice: number | null;
  /** How much of its notes may be on its way, and how long its messages may hold main's event loop in one turn. */
  noteWindowBytes: number;
  turnMaxMs: number;
  onNote: (note: AgentThreadNote) => void;
}

/** starting: it loads its agents; up; retiring: up, but to end when nobody is there any more; gone: dead or condemned. */
export type ThreadState = 'starting' | 'up' | 'retiring' | 'gone';

/** Something that was put into the thread's hand. */
export interface Revocable {
  /** Takes it back. False: the thread was first. */
  withdraw(): boolean;
}

const ENTRY = new URL('../../worker/entry.cjs', import.meta.url);

export class AgentThread {
  readonly no: number;
  readonly forSuspects: boolean;
  readonly calls: Remote<AgentThreadCalls>;
  /** The store's end of this thread's link to it (journal-ring.ts): to be attached there. */
  readonly journal: { port: MessagePort; ring: SharedArrayBuffer };
  /** Resolves with the reason when the thread is gone, whatever ended it; null: it was shut down. */
  readonly death: Promise<CabanaError | null>;
  /** Resolves when the thread cannot execute anything any more; `alive` is false before that, from the moment it is given up. */
  readonly exited: Promise<void>;
  #state: ThreadState = 'starting';
  readonly #thread: Thread;
  readonly #endpoint: BatchEndpoint;
  readonly #table: StatusTable;
  #culpritSlot: number | null = null;
  #isShutDown = false;

  /** Cpu runs and compactions that have the thread to themselves, or are on their way to: one, but for a moment of two. */
  cpuRuns = 0;
  /** The run that the thread may begin by itself when it is free. */
  offer: Revocable | null = null;
  /** Sessions whose agent is here, or on its way here. */
  sessions = 0;

  constructor(options: AgentThreadOptions) {
    this.no = options.no;
    this.forSuspects = options.forSuspects;
    this.#table = options.table;
    options.table.clearThread(options.no);
    const control = new MessageChannel();
    const journal = new MessageChannel();
    this.journal = { port: journal.port2, ring: newJournalRing() };
    this.#endpoint = new BatchEndpoint(new PacedPort(control.port1, options.turnMaxMs));
    const noteCounter = newNoteCounter();
    const dealtWith = new Int32Array(noteCounter);
    // Agents' code may get between what is said and what is posted. That costs its thread, and nobody else's.
    this.#endpoint.onUnreadable((error) => this.#thread.fail(error));
    this.#endpoint.onNote((note) => {
      try {
        options.onNote(note as WeighedNote);
        Atomics.add(dealtWith, 0, (note as WeighedNote).weight);
        Atomics.notify(dealtWith, 0);
      } catch (error) {
        this.#thread.fail(error as Error);
      }
    });
    this.calls = remote<AgentThreadCalls>(AGENT_THREAD_CALLS, this.#endpoint);
    const task = {
      thread: options.no,
      control: control.port2,
      journal: journal.port1,
      ring: this.journal.ring,
      table: options.table.buffer,
      noteCounter,
      noteWindowBytes: options.noteWindowBytes,
      agents: options.agents,
      nice: options.nice,
    } satisfies AgentThreadTask;
    this.#thread = options.thread;
    const ended = this.#thread.run(ENTRY, 'serve', task, [control.port2, journal.port1]);
    this.exited = ended.then(
      () => undefined,
      () => this.#thread.terminate(),
    );
    this.death = ended.then(
      // Its task ends of itself when it was asked to, and when its code throws null, which Piscina takes for no error.
      () => this.#gone(this.#isShutDown ? null : deathOf(options.no, new Error('its code threw null'))),
      (error: unknown) => this.#gone(deathOf(options.no, error)),
    );
  }

  /** Whether it answers: from the moment its agents are loaded until it dies or is condemned. */
  get alive(): boolean {
    return this.#state === 'up' || this.#state === 'retiring';
  }

  get retiring(): boolean {
    return this.#state === 'retiring';
  }

  get state(): ThreadState {
    return this.#state;
  }

  get cpuBusy(): boolean {
    return this.cpuRuns > 0;
  }

  /** It has loaded its agents. */
  markUp(): void {
    if (this.#state === 'starting') this.#state = 'up';
  }

  /** From now on nothing more is put there, and what is there leaves. */
  retire(): void {
    if (this.#state === 'up') this.#state = 'retiring';
  }

  /** It is needed again after all. */
  stay(): void {
    if (this.#state === 'retiring') this.#state = 'up';
  }

  /**
   * The slot whose code took the thread down, or held it when it died; CULPRIT_LEFT: nobody's who lives there; null:
   * nobody's that is known. Read when it dies, before a thread of the same number can write there.
   */
  get culpritSlot(): number | null {
    return this.#culpritSlot;
  }

  /**
   * Main has given up on it. It may still execute, but nothing is put there, and its sessions may be taken from it.
   * @param culpritSlot whose run it is that made main do so, if it is known: of code after an await the thread tells nothing
   */
  condemn(culpritSlot: number | null = null): void {
    this.#state = 'gone';
    this.#culpritSlot ??= culpritSlot;
    this.offer?.withdraw();
  }

  /** Has its agents stop, and ends it. @throws CabanaError THREAD_DIED */
  shutDown(): Promise<void> {
    this.#isShutDown = true;
    return this.calls.shutdown();
  }

  /** The slot whose code the thread has entered and not left for a turn; null: nobody's, or code after an await. */
  get enteredSlot(): number | null {
    const slot = this.#table.getThread(this.no, 'entered');
    return slot >= 0 ? slot : null;
  }

  /** Ends the thread at once; pending calls are answered with THREAD_DIED. */
  async terminate(): Promise<void> {
    this.#gone(new CabanaError('THREAD_DIED', `thread ${this.no} was given up`));
    await this.#thread.terminate();
  }

  #gone(reason: CabanaError | null): CabanaError | null {
    this.#state = 'gone';
    this.#culpritSlot ??= culpritIn(this.#table, this.no, reason?.code === 'AGENT_OUT_OF_MEMORY');
    // Likewise before a thread of the same number is there.
    this.offer?.withdraw();
    const why = reason ? reason.message : `thread ${this.no} was shut down`;
    this.#endpoint.settle(new CabanaError('THREAD_DIED', why, { cause: reason }));
    return reason;
  }
}

/**
 * Who said so at the last moment; else whose code was entered and had not returned. A full heap leaves no time to say
 * anything: then it is whose cpu run it was. Of any other death nobody is known then (a timer of a module, say).
 */
function culpritIn(table: StatusTable, no: number, heapIsFull: boolean): number | null {
  const culprit = table.getThread(no, 'culprit');
  if (culprit !== -1) return culprit;
  const entered = table.getThread(no, 'entered');
  if (entered >= 0) return entered;
  if (!heapIsFull) return null;
  const holder = table.getThread(no, 'slot');
  return holder >= 0 ? holder : null;
}

/** Why the thread died, as a code: its runs end with it. */
function deathOf(no: number, error: unknown): CabanaError {
  const code: ErrorCode =
    // Code may throw anything, undefined too.
    (error as { code?: unknown } | undefined)?.code === 'ERR_WORKER_OUT_OF_MEMORY'
      ? 'AGENT_OUT_OF_MEMORY'
      : 'AGENT_CRASHED';
  return new CabanaError(code, `thread ${no} died: ${messageOf(error)}`, { cause: error });
}
