// Loading agent modules: the default export of each must be a definition, and each profile must be there once.

import { pathToFileURL } from 'node:url';
import { CabanaError, messageOf } from '../protocol/errors.js';
import { LABEL_MAX_CHARS, RUN_TIMEOUT_MAX_MS } from '../protocol/limits.js';
import type { AgentProfile } from '../protocol/session.js';
import type { AgentDefinition } from './agent.js';

export interface AgentModule {
  definition: AgentDefinition;
  profile: AgentProfile;
}

/** @throws CabanaError AGENT_MODULE_INVALID, naming the file and what is wrong with it */
export async function loadAgentModules(files: readonly string[]): Promise<Map<string, AgentModule>> {
  const modules = new Map<string, AgentModule>();
  for (const file of files) {
    const definition = check(await importDefault(file), file);
    const twin = modules.get(definition.profile);
    if (twin) {
      throw new CabanaError(
        'AGENT_MODULE_INVALID',
        `two agents have the profile "${definition.profile}": ${twin.profile.module} and ${file}`,
      );
    }
    modules.set(definition.profile, { definition, profile: describe(definition, file) });
  }
  return modules;
}

async function importDefault(file: string): Promise<unknown> {
  try {
    const { default: exported } = (await import(pathToFileURL(file).href)) as { default?: unknown };
    // What a compiler makes of a default export in CommonJS.
    const compiled = exported as { __esModule?: unknown; default?: unknown } | null | undefined;
    return compiled?.__esModule ? compiled.default : exported;
  } catch (error) {
    throw new CabanaError('AGENT_MODULE_INVALID', `cannot load the agent ${file}: ${messageOf(error)}${hint(error)}`, {
      cause: error,
    });
  }
}

function hint(error: unknown): string {
  const missing =
    /^(ERR_)?MODULE_NOT_FOUND$/.test(String((error as { code?: unknown } | null)?.code)) &&
    /'cabana[/']/.test(messageOf(error));
  return missing ? ' (a plain object works as a definition: defineAgent() only adds types)' : '';
}

const HOOKS = ['start', 'restore', 'save', 'compact', 'stop'] as const;

function check(value: unknown, file: string): AgentDefinition {
  const refuse = (why: string): never => {
    throw new CabanaError('AGENT_MODULE_INVALID', `the agent ${file} ${why}`);
  };
  if (typeof value !== 'object' || value === null) return refuse('has no default export that is an agent definition');
  const definition = value as Record<string, unknown>;
  const { profile, load, saveWhen, runTimeoutMs, retry, onInterrupted } = definition;
  if (typeof profile !== 'string' || profile === '' || profile.length > LABEL_MAX_CHARS) {
    refuse(`needs a profile: a string of 1 to ${LABEL_MAX_CHARS} characters`);
  }
  if (typeof definition['run'] !== 'function') refuse('needs a function run(ctx, input)');
  for (const hook of HOOKS) {
    if (definition[hook] !== undefined && typeof definition[hook] !== 'function')
      refuse(`has a ${hook} that is no function`);
  }
  if (load !== undefined && load !== 'cpu' && load !== 'io') refuse(`has a load that is neither 'cpu' nor 'io'`);
  if (saveWhen !== undefined && saveWhen !== 'run' && saveWhen !== 'flush') {
    refuse(`has a saveWhen that is neither 'run' nor 'flush'`);
  }
  if (runTimeoutMs !== undefined && !(typeof runTimeoutMs === 'number' && isTimeout(runTimeoutMs))) {
    refuse(`has a runTimeoutMs that is no positive number of at most ${RUN_TIMEOUT_MAX_MS}`);
  }
  if (retry !== undefined && !(Number.isInteger(retry) && (retry as number) >= 0))
    refuse('has a retry that is no count');
  if (onInterrupted !== undefined && onInterrupted !== 'report' && onInterrupted !== 'resume') {
    refuse(`has an onInterrupted that is neither 'report' nor 'resume'`);
  }
  return definition as unknown as AgentDefinition;
}

function isTimeout(ms: number): boolean {
  return ms > 0 && ms <= RUN_TIMEOUT_MAX_MS;
}

function describe(definition: AgentDefinition, file: string): AgentProfile {
  return {
    profile: definition.profile,
    load: definition.load ?? 'cpu',
    saveWhen: definition.saveWhen ?? 'run',
    compacts: definition.compact !== undefined,
    runTimeoutMs: definition.runTimeoutMs ?? null,
    retry: definition.retry ?? 0,
    onInterrupted: definition.onInterrupted ?? 'report',
    module: file,
  };
}
