// The agents of one thread: answers main's calls.

import { type Activated, type AgentThreadCalls, type RunReport, type RunRequest } from '../protocol/control.js';
import { CabanaError } from '../protocol/errors.js';
import { profileOf, type AgentProfile } from '../protocol/session.js';
import { collectGarbage } from './garbage.js';
import { Activation, type ThreadServices } from './activation.js';
import { loadAgentModules, type AgentModule } from './modules.js';
import { stepBack } from './priority.js';

export interface AgentHostOptions {
  /** File paths of the agent modules. */
  agents: readonly string[];
  niceIncrement: number;
}

export class AgentHost implements AgentThreadCalls {
  readonly #options: AgentHostOptions;
  readonly #services: ThreadServices;
  readonly #onShutdown: () => void;
  readonly #agents = new Map<string, Activation>();
  /** Activations whose session has come back under a later epoch, until main has them discarded. */
  readonly #superseded = new Set<Activation>();
  #modules: ReadonlyMap<string, AgentModule> = new Map();

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
    // Not before: until now the start of the whole host waits for this thread.
    stepBack(this.#options.niceIncrement);
    return { profiles: [...this.#modules.values()].map((module) => module.profile) };
  }

  async activate(request: { sessionId: string; slot: number; generation: number }): Promise<Activated | null> {
    const loaded = await this.#services.link.load(request.sessionId, request.slot, request.generation);
    if (!loaded) return null;
    const profile = profileOf(loaded.record);
    const module = this.#modules.get(profile);
    if (!module) throw new CabanaError('UNKNOWN_PROFILE', `no agent of this host has the profile "${profile}"`);
    const activation = await Activation.begin(module.definition, loaded, request.slot, this.#services);
    const older = this.#agents.get(request.sessionId);
    if (older) this.#superseded.add(older);
    this.#agents.set(request.sessionId, activation);
    return { epoch: loaded.epoch, record: loaded.record };
  }

  run(request: RunRequest): Promise<RunReport> {
    return this.#agent(request.sessionId).run(request);
  }

  compact(sessionId: string, runNo: number): Promise<boolean> {
    return this.#agent(sessionId).compact(runNo);
  }

  interrupt(sessionId: string, runNo: number): void {
    this.#agents.get(sessionId)?.interrupt(runNo);
  }

  flush(sessionId: string): Promise<void> {
    return this.#agent(sessionId).flush();
  }

  async passivate(sessionId: string): Promise<void> {
    const agent = this.#agent(sessionId);
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
