// One activation: an agent's state, context and history between its load from the store and its leaving memory.

import { encodeEntry } from '../protocol/codec.js';
import type { RunReport, RunRequest } from '../protocol/control.js';
import { CabanaError, isA, messageOf, toWire } from '../protocol/errors.js';
import { HOOK_MAX_MS } from '../protocol/limits.js';
import { outcomeEntry } from '../protocol/outcome.js';
import type { StatusTable } from '../protocol/status-table.js';
import type { AgentDefinition, StoredEntry } from './agent.js';
import type { Blame, Suspect } from './blame.js';
import { compact } from './compaction.js';
import { Context } from './context.js';
import type { CpuClock } from './cpu-clock.js';
import { inTime } from './deadline.js';
import type { EventSender } from './event-sender.js';
import { execute, type Outcome } from './execution.js';
import { History, type HistoryOwner } from './history.js';
import { RunInterrupt } from './interrupt.js';
import type { JournalLink, Restored } from './journal-link.js';
import { Naming } from './naming.js';
import { monotonicMs, unixMs } from './platform.js';
import { Snapshots } from './snapshots.js';
import { StatusWriter } from './status-writer.js';
import type { ThreadHold } from './thread-hold.js';

/** What the activations of a thread share. */
export interface ThreadServices {
  thread: number;
  table: StatusTable;
  link: JournalLink;
  events: EventSender;
  cpu: CpuClock;
  hold: ThreadHold;
  blame: Blame;
}

interface CurrentRun {
  runNo: number;
  interrupt: RunInterrupt;
  /** Resolves when the run has ended, whatever its outcome. */
  ended: Promise<unknown>;
}

export class Activation implements HistoryOwner {
  readonly sessionId: string;
  readonly epoch: number;
  readonly #definition: AgentDefinition;
  readonly #services: ThreadServices;
  readonly #slot: number;
  /** As whom its code is blamed, the timers that it leaves behind included. */
  readonly #suspect: Suspect;
  readonly #history: History;
  readonly #status: StatusWriter;
  readonly #ctx: Context;
  readonly #snapshots: Snapshots;
  /** Made by the first rename. */
  #naming: Naming | null = null;
  #run: CurrentRun | null = null;
  #compacting: Promise<unknown> | null = null;
  /** Why its state is not to be used any more: a compaction could not be undone. */
  #spoilt: CabanaError | null = null;
  /** Then: the state from before it, on its way to the disk. */
  #savedBefore: Promise<void> | null = null;

  private constructor(
    definition: AgentDefinition,
    loaded: Restored<StoredEntry>,
    slot: number,
    services: ThreadServices,
  ) {
    const { record, key, epoch } = loaded;
    this.sessionId = record.sessionId;
    this.epoch = epoch;
    this.#definition = definition;
    this.#services = services;
    this.#slot = slot;
    this.#suspect = { slot };
    this.#history = new History(services.link, services.table, { key, epoch, slot }, unixMs, this);
    this.#status = new StatusWriter(services.table, slot, { ...record.stats });
    this.#ctx = new Context(record, this.#history, this.#status, services.events, (name, calledAt) =>
      this.#rename(name, calledAt),
    );
    this.#snapshots = new Snapshots({
      definition,
      ctx: this.#ctx,
      history: this.#history,
      status: this.#status,
      link: services.link,
    });
    services.table.set('thread', slot, 'historySeq', loaded.seq);
  }

  /**
   * Brings the agent up; it is not seen by anybody before its state is whole.
   * @throws CabanaError RESTORE_FAILED, with what start or restore threw as its cause
   */
  static async begin(
    definition: AgentDefinition,
    loaded: Restored<StoredEntry>,
    slot: number,
    services: ThreadServices,
  ): Promise<Activation> {
    const activation = new Activation(definition, loaded, slot, services);
    try {
      const restored = activation.#blamed(() => activation.#snapshots.restore(loaded));
      await inTime(restored, HOOK_MAX_MS, 'RESTORE_FAILED', 'start or restore');
      activation.#status.clearProgress();
      return activation;
    } catch (error) {
      activation.#leave();
      if (isA(error, CabanaError) && toWire(error, 0).code === 'STORE_CORRUPT') throw error;
      const what = `session ${loaded.record.sessionId} (${definition.profile}) cannot be brought up`;
      throw new CabanaError('RESTORE_FAILED', `${what}: ${messageOf(error)}`, { cause: error });
    }
  }

  get running(): boolean {
    return this.#run !== null;
  }

  get load(): 'cpu' | 'io' {
    return this.#definition.load ?? 'cpu';
  }

  async run(request: RunRequest): Promise<RunReport> {
    if (this.#run) throw new CabanaError('SESSION_BUSY', `session ${this.sessionId} has a run already`);
    if (this.#spoilt) throw this.#spoilt;
    const interrupt = new RunInterrupt(this.#services.table, this.#slot, request.runNo);
    // Taken before the first await, so that a second run cannot slip in.
    const ended = this.#blamed(() => this.#execute(request, interrupt));
    this.#run = { runNo: request.runNo, interrupt, ended };
    try {
      return await ended;
    } finally {
      this.#run = null;
      this.#services.hold.letGo(request.runNo);
    }
  }

  async #execute(request: RunRequest, interrupt: RunInterrupt): Promise<RunReport> {
    const { cpu, hold, link, table, thread } = this.#services;
    const { runId, runNo } = request;
    const input = request.input ?? (await this.#readInput(request.inputSeq));
    link.send({ kind: 'start', at: unixMs(), runId, ...this.#history.fence() });
    if (this.load === 'cpu') hold.take(this.#slot, runNo);
    table.set('thread', this.#slot, 'begunNo', runNo);
    this.#status.runStarted();
    this.#ctx.scope({ runId, interrupt, resumed: request.resumed, onYield: (waits) => hold.yielded(runNo, waits) });
    const startedAt = monotonicMs();
    const cpuMs = (): number => (this.load === 'cpu' ? cpu.now() : cpu.shared());
    const startedCpuMs = cpuMs();
    const outcome = await execute(this.#definition, this.#ctx, input, interrupt);
    this.#ctx.scope(null);
    table.setThread(thread, 'runs', table.getThread(thread, 'runs') + 1);
    this.#status.runEnded({
      latencyMs: monotonicMs() - startedAt,
      cpuMs: cpuMs() - startedCpuMs,
      error: outcome.state === 'failed' ? outcome.error : null,
      code: outcome.state === 'failed' ? outcome.code : null,
    });
    const saved = await this.#end(runId, outcome);
    // Events go before the report on the same port, so that a subscriber sees them, or that some are missing, before the end.
    this.#services.events.settle(this.sessionId);
    return { saved };
  }

  /** Posts the outcome, with the state if the profile says so. @returns whether the state is with it */
  async #end(runId: string, outcome: Outcome): Promise<boolean> {
    this.#naming?.settle();
    const entry = encodeEntry(outcomeEntry(runId, outcome));
    const post = (snapshot: Uint8Array | null): void => {
      const { stats } = this.#status;
      const end = { kind: 'end', at: unixMs(), runId, ...outcome, entry, snapshot, stats } as const;
      this.#services.link.send({ ...end, ...this.#history.nextFence() });
    };
    if (this.#definition.saveWhen !== 'flush') {
      try {
        await this.#snapshots.take(post);
        return true;
      } catch (error) {
        // The outcome must not fail for its snapshot: the state stays in memory, and the next save may succeed.
        this.#ctx.log.error(`the state was not saved: ${messageOf(error)}`);
      }
    }
    post(null);
    return false;
  }

  async #readInput(seq: number): Promise<Uint8Array> {
    const [row] = await this.#services.link.read(this.#history.key, seq, 1);
    if (row?.seq !== seq) throw new CabanaError('INTERNAL', `the input of a run is missing at seq ${seq}`);
    return row.body;
  }

  /**
   * Calls compact(), as the run `runNo` that can be interrupted. What it did to the state is undone if it does not come
   * to its end; either way it is journaled.
   * @returns whether it completed
   * @throws CabanaError RESTORE_FAILED: it could not be undone; the activation is not to be used any more
   */
  async compact(runNo: number): Promise<boolean> {
    if (this.#run) throw new CabanaError('SESSION_BUSY', `session ${this.sessionId} has a run`);
    const interrupt = new RunInterrupt(this.#services.table, this.#slot, runNo);
    const ended = this.#blamed(() => this.#compact(runNo, interrupt));
    this.#run = { runNo, interrupt, ended };
    this.#compacting = ended;
    try {
      return await ended;
    } finally {
      this.#run = null;
      this.#compacting = null;
      this.#services.hold.letGo(runNo);
    }
  }

  async #compact(runNo: number, interrupt: RunInterrupt): Promise<boolean> {
    const { hold, table } = this.#services;
    // A flush that waits for an asynchronous save would take the state again, half compacted. (One that comes now waits.)
    await this.#snapshots.saving?.catch(() => undefined);
    hold.take(this.#slot, runNo);
    table.set('thread', this.#slot, 'begunNo', runNo);
    const onYield = (waits: boolean): void => hold.yielded(runNo, waits);
    const scope = { runId: null, interrupt, resumed: false, onYield };
    return compact(
      {
        definition: this.#definition,
        ctx: this.#ctx,
        history: this.#history,
        status: this.#status,
        snapshots: this.#snapshots,
        onSpoilt: (error, savedBefore) => {
          this.#spoilt = error;
          this.#savedBefore = savedBefore;
        },
      },
      scope,
    );
  }

  /** Aborts the signal of that run; a run that is over, or has yet to come, is not touched. */
  interrupt(runNo: number): void {
    const run = this.#run;
    // The signal's listeners are the agent's code.
    if (run?.runNo === runNo) this.#blamed(() => run.interrupt.abort());
  }

  /** Everything durable: the state as it is now, and every entry before it. @throws SAVE_FAILED, STORE_FULL, STALE_EPOCH */
  flush(): Promise<void> {
    return this.#blamed(() => this.#flush());
  }

  async #flush(): Promise<void> {
    // With room now, do not await: this snapshot must be counted in this turn, so that the next of many concurrent
    // flushes sees it.
    const room = this.#services.link.room();
    if (room) await room;
    // A compaction that is not at its end is undone first: half of one must not be saved. And of two saves that take their
    // time the one that began later must not be stored first.
    for (let before = this.#changing; before; before = this.#changing) await before.catch(() => undefined);
    if (this.#savedBefore) return this.#savedBefore;
    this.#history.assertWritable();
    this.#naming?.settle();
    const { onDisk } = await this.#snapshots.save();
    await onDisk;
  }

  /** What a save must not overlap. */
  get #changing(): Promise<unknown> | null {
    return this.#compacting ?? this.#snapshots.saving;
  }

  /** Ends the activation; waits for its run. What is not saved is in the journal or lost on purpose (deleted). */
  async end(): Promise<void> {
    await this.#run?.ended.catch(() => undefined);
    if (this.#definition.stop) await this.#blamed(() => this.#stop());
    this.#leave();
  }

  /** Its row is another session's soon: what the agent's timers and promises still do is neither shown nor written. */
  #leave(): void {
    this.#ctx.leave();
    this.#history.close();
    this.#suspect.slot = null;
  }

  /** Runs the agent's code. */
  #blamed<T>(code: () => T): T {
    return this.#services.blame.on(this.#suspect, code);
  }

  async #stop(): Promise<void> {
    try {
      await inTime(Promise.resolve(this.#definition.stop?.(this.#ctx)), HOOK_MAX_MS, 'AGENT_ERROR', 'stop');
    } catch (error) {
      this.#ctx.log.error(`stop() threw: ${messageOf(error)}`);
    }
  }

  onRefused(error: CabanaError): void {
    // Superseded: whoever has taken over knows.
    if (error.code !== 'STALE_EPOCH') this.#services.events.refused(this.sessionId, this.epoch, error);
  }

  #rename(name: string, calledAt: number): void {
    this.#naming ??= new Naming((last, lastAt) => {
      const rename = { kind: 'rename', at: unixMs(), name: last, calledAt: lastAt } as const;
      this.#services.link.send({ ...rename, ...this.#history.fence() });
    });
    this.#naming.rename(name, calledAt);
  }
}
