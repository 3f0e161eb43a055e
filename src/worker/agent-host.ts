// The agents of one thread: answers main's calls.

import { type Activated, type AgentThreadCalls, type RunReport, type RunRequest } from '../protocol/control.js';
import { CabanaError } from '../protocol/errors.js';
import { profileOf, type AgentProfile } from '../protocol/session.js';
import { collectGarbage } from './garbage.js';
import { Activation, type ThreadServices } from './activation.js';
import { storedEntry } from './history.js';
import { loadAgentModules, type AgentModule } from './modules.js';
import { setImmediate } from './platform.js';
import { stepBack } from './priority.js';
import { Turns } from './turns.js';

export interface AgentHostOptions {
  /** File paths of the agent modules. */
  agents: readonly string[];
  /** The thread's nice value; null: the process's. */
  nice: number | null;
}

export class AgentHost implements AgentThreadCalls {
  readonly #options: AgentHostOptions;
  readonly #services: ThreadServices;
  readonly #onShutdown: () => void;
  readonly #agents = new Map<string, Activation>();
  /** Of start, restore and save. */
  readonly #turns = new Turns();
  /** Activations whose session has come back under a later epoch, until main has them discarded. */
  readonly #superseded = new Set<Activation>();
  #modules: ReadonlyMap<string, AgentModule> = new Map();
  /** Cpu runs and compactions that execute here, and offered runs that wait until there is none. */
  #executing = 0;
  #waiting: (() => void)[] = [];
  /** The offer that was taken at the end of a run; its request is here or on its way. 0: none. */
  #taken = 0;

  constructor(options: AgentHostOptions, services: ThreadServices, onShutdown: () => void) {
    this.#options = options;
    this.#services = services;
    this.#onShutdown = onShutdown;
  }

  /** Activations in this thread. */
  get size(): number {
    return this.#agents.size;
  }

  async hello(): Promise<{ profiles: AgentProfile[] }> {
    this.#modules = await loadAgentModules(this.#options.agents);
    // After loading: the host's start, or whoever needs a stand-in, waits for this call. Spares have already done both
    // (prepare.cts).
    stepBack(this.#options.nice);
    return { profiles: [...this.#modules.values()].map((module) => module.profile) };
  }

  async activate(request: { sessionId: string; slot: number; generation: number }): Promise<Activated | null> {
    if (!this.#services.table.takeActivation(request.slot)) return null;
    const loaded = await this.#services.link.load(request.sessionId, request, storedEntry);
    if (!loaded) return null;
    const profile = profileOf(loaded.record);
    const module = this.#modules.get(profile);
    if (!module) throw new CabanaError('UNKNOWN_PROFILE', `no agent of this host has the profile "${profile}"`);
    await this.#turns.next();
    const activation = await Activation.begin(module.definition, loaded, request.slot, this.#services);
    const older = this.#agents.get(request.sessionId);
    if (older) this.#superseded.add(older);
    this.#agents.set(request.sessionId, activation);
    return { epoch: loaded.epoch, record: loaded.record };
  }

  async run(request: RunRequest): Promise<RunReport | null> {
    const { offer } = request;
    if (offer !== 0) {
      while (this.#isHeldFrom(offer)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      // Nothing is awaited from here to its beginning, so that no other waiting run can begin as well.
      if (!this.#take(offer)) return null;
    }
    const agent = this.#agent(request.sessionId);
    return agent.load === 'cpu' ? this.#alone(() => agent.run(request)) : agent.run(request);
  }

  compact(sessionId: string, runNo: number): Promise<boolean> {
    const agent = this.#agent(sessionId);
    return this.#alone(() => agent.compact(runNo));
  }

  /** Whether the offered run must wait: something executes, or another offer was taken whose request has yet to come. */
  #isHeldFrom(offer: number): boolean {
    return this.#executing > 0 || (this.#taken !== 0 && this.#taken !== offer);
  }

  /** False: main has taken the offer back. */
  #take(offer: number): boolean {
    if (this.#taken !== offer) return this.#services.table.takeOffer(this.#services.thread, offer);
    this.#taken = 0;
    return true;
  }

  /** Executes what has the thread to itself. */
  async #alone<T>(execute: () => Promise<T>): Promise<T> {
    const { table, thread } = this.#services;
    this.#executing++;
    try {
      return await execute();
    } finally {
      this.#executing--;
      // Take the offer before this run's report is sent, so that main, on reading the report, finds the next run taken.
      // Its request may be in #waiting, or unread in the port because the code that just ended never yielded.
      if (this.#executing === 0) this.#taken ||= table.takeAnyOffer(thread);
      // In a later turn, so that the report is on its way before the next run holds the thread.
      if (this.#waiting.length > 0) setImmediate(() => this.#wakeWaiting());
    }
  }

  #wakeWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  interrupt(sessionId: string, runNo: number): void {
    this.#agents.get(sessionId)?.interrupt(runNo);
  }

  async flush(sessionId: string): Promise<void> {
    const agent = this.#agent(sessionId);
    await this.#turns.next();
    await agent.flush();
  }

  async passivate(sessionId: string): Promise<void> {
    const agent = this.#agent(sessionId);
    await this.#turns.next();
    if (agent.running) throw new CabanaError('SESSION_BUSY', `session ${sessionId} has a run`);
    await agent.flush();
    await this.#end(agent);
  }

  async discard(sessionId: string, epoch: number): Promise<void> {
    const here = [this.#agents.get(sessionId), ...this.#superseded];
    const agent = here.find((candidate) => candidate?.sessionId === sessionId && candidate.epoch === epoch);
    if (agent) await this.#end(agent);
  }

  collect(): void {
    collectGarbage();
  }

  async shutdown(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.end()));
    this.#agents.clear();
    this.#onShutdown();
  }

  async #end(agent: Activation): Promise<void> {
    await agent.end();
    this.#superseded.delete(agent);
    if (this.#agents.get(agent.sessionId) === agent) this.#agents.delete(agent.sessionId);
  }

  #agent(sessionId: string): Activation {
    const agent = this.#agents.get(sessionId);
    if (!agent) throw new CabanaError('INTERNAL', `session ${sessionId} is not in this thread`);
    return agent;
  }
}
