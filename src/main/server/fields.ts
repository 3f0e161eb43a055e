// Checks of a request's fields, each in words that say what is expected. By hand: to load a compiler of JSON Schemas, and
// to compile the few that there are, took a third of the server's start.

import { CabanaError } from '../../protocol/errors.js';

/** Says what a value is to be; null: it is that. */
type Check = (value: unknown) => string | null;

export const anything: Check = () => null;
export const flag: Check = (value) => (typeof value === 'boolean' ? null : 'is true or false');
export const object: Check = (value) => (isObject(value) ? null : 'is an object');
export const orNull =
  (check: Check): Check =>
  (value) =>
    value === null ? null : check(value);
export const text =
  (maxChars = Infinity, minChars = 0): Check =>
  (value) => {
    if (typeof value !== 'string') return 'is text';
    if (value.length < minChars) return `is text of ${minChars} characters at least`;
    return value.length > maxChars ? `is text of ${maxChars} characters at most` : null;
  };
export const oneOf =
  (...values: string[]): Check =>
  (value) =>
    values.includes(value as string) ? null : `is one of ${values.join(', ')}`;
export const integer =
  (min: number, max: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? null
      : `is a whole number from ${min} to ${max}`;
export const digits: Check = (value) =>
  typeof value === 'string' && /^[0-9]{1,15}$/.test(value) ? null : 'is a whole number';

/** As a body or a query can have it: what was parsed has no class of ours. */
function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Of a name that nobody knows. */
const SHOWN_MAX_CHARS = 64;

interface FieldsOptions {
  required?: string;
  mayBeAbsent?: boolean;
  mayBeEmpty?: boolean;
}

/** An object of known fields. Fastify takes it for a schema; `validatorOf` makes it check. */
export class Fields {
  readonly #checks: ReadonlyMap<string, Check>;
  readonly #options: FieldsOptions;

  constructor(checks: Record<string, Check>, options: FieldsOptions = {}) {
    this.#checks = new Map(Object.entries(checks));
    this.#options = options;
  }

  /** Says what is wrong; null: nothing. */
  fault(value: unknown): string | null {
    const { required, mayBeAbsent, mayBeEmpty = true } = this.#options;
    if (value === null && mayBeAbsent) return null;
    if (!isObject(value)) return 'an object is expected';
    const fields = Object.entries(value);
    if (fields.length === 0 && !mayBeEmpty) return `one of ${[...this.#checks.keys()].join(', ')} is expected`;
    for (const [name, field] of fields) {
      const check = this.#checks.get(name);
      if (!check) return `there is no field ${JSON.stringify(name.slice(0, SHOWN_MAX_CHARS))}`;
      const fault = check(field);
      if (fault !== null) return `${name} ${fault}`;
    }
    return required !== undefined && !Object.hasOwn(value, required) ? `${required} is missing` : null;
  }
}

/** A validator as fastify calls it. */
export function validatorOf(schema: Fields, part: string): (value: unknown) => { error?: Error; value?: unknown } {
  return (value) => {
    const fault = schema.fault(value);
    return fault === null ? { value } : { error: new CabanaError('INVALID_ARGUMENT', `${part}: ${fault}`) };
  };
}
