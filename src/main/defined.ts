// Optional fields, as exactOptionalPropertyTypes wants them: not there, rather than undefined.

/** The fields that are there. */
export function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}
