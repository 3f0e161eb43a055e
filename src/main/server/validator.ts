// Fastify's validator of request schemas, loaded and compiled by the first request that needs it: both take longer than
// all the rest of the server's start.

import type { AjvCompiler as NewCompiler, BuildCompilerFromPool } from '@fastify/ajv-compiler';
import type { FastifySchemaCompiler } from 'fastify';
import { createRequire } from 'node:module';

type Compile = FastifySchemaCompiler<unknown>;

// Not import(): fastify validates synchronously.
const require = createRequire(import.meta.url);

export const buildValidator: BuildCompilerFromPool = (...options) => {
  let compile: Compile | undefined;
  const compileLazily: Compile = (route) => {
    let validate: ReturnType<Compile> | undefined;
    const lazily: ReturnType<Compile> = (data: unknown) => {
      compile ??= newCompiler()(...options) as unknown as Compile;
      validate ??= compile(route);
      const result = validate(data);
      // Where fastify looks for what is wrong.
      lazily.errors = validate.errors ?? null;
      return result;
    };
    return lazily;
  };
  // It is called with a route, whatever its type says.
  return compileLazily as unknown as ReturnType<BuildCompilerFromPool>;
};

function newCompiler(): BuildCompilerFromPool {
  const { AjvCompiler } = require('@fastify/ajv-compiler') as { AjvCompiler: typeof NewCompiler };
  return AjvCompiler();
}
