// Prepared statements by their text. The texts are built from fixed parts, so that their number is bounded.

import type { Database, Statement } from 'better-sqlite3';

export class Statements {
  readonly #db: Database;
  readonly #prepared = new Map<string, Statement<unknown[], unknown>>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** Rows as objects. */
  get<Row>(sql: string): Statement<unknown[], Row> {
    return this.#prepare(sql, false) as Statement<unknown[], Row>;
  }

  /** Rows as arrays of their columns: reading many of them takes half as long. */
  raw<Row extends readonly unknown[]>(sql: string): Statement<unknown[], Row> {
    return this.#prepare(sql, true) as Statement<unknown[], Row>;
  }

  #prepare(sql: string, raw: boolean): Statement<unknown[], unknown> {
    const name = raw ? `raw ${sql}` : sql;
    let statement = this.#prepared.get(name);
    if (!statement) {
      statement = this.#db.prepare<unknown[], unknown>(sql);
      if (raw) statement.raw(true);
      this.#prepared.set(name, statement);
    }
    return statement;
  }
}
