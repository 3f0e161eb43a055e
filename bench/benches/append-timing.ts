// Whether what append was told of its time and of its commits can be: an agent's own clock and the store's own counter are
// figures like others, and decide what is compared with what.

import { readFileSync } from 'node:fs';
import type { Host } from '../../src/main/index.js';
import { epochNow, type Appended } from '../agents/appender.js';
import { median, type BenchRun } from '../harness.js';
import { until } from '../support.js';

/** Of sums of times, each of which is rounded. */
const ROUNDED_MS = 0.05;
/** Threads take the time of day by themselves, each when it starts. */
const CLOCKS_MS = 20;
/** Between one acknowledgement and the next append of a session there is next to nothing. */
const LEAST_AWAITED = 0.9;
/** How long the counter of commits may be behind the log. */
const COUNTED_WITHIN_MS = 5_000;

/** Nobody began before the others, and who waits for entries one after the other takes as long as all of them take. */
export function checkTimes(b: BenchRun, runs: readonly Appended[], startAt: number): void {
  const arrivedAt = epochNow();
  const awaited: number[] = [];
  for (const { firstAt, endAt, ackMs } of runs) {
    const acks = ackMs.reduce((sum, ms) => sum + ms, 0);
    const took = endAt - firstAt;
    b.check(firstAt >= startAt, `a session began ${startAt - firstAt} ms before the others`);
    b.check(took >= acks - ROUNDED_MS, `a session was done after ${took} ms, and had waited for ${acks} ms by then`);
    b.check(endAt <= arrivedAt + CLOCKS_MS, `a run was over ${endAt - arrivedAt} ms after it was told to be`);
    awaited.push(acks / took);
  }
  const share = median(awaited);
  b.checkTime(
    share >= LEAST_AWAITED,
    `acknowledgements make up no more than ${(100 * share).toFixed(0)} % of the time`,
  );
}

/** What the log of a database holds since it was last begun anew, told by its salt. */
export interface LogCommits {
  salt: string;
  commits: number;
}

const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;

/** Counts them in the file itself, whose frames say which of them end a transaction. (SQLite has no locks on this file.) */
export function logCommits(database: string): LogCommits {
  const log = readFileSync(`${database}-wal`);
  const pageBytes = log.readUInt32BE(8);
  const saltOf = (at: number): string => log.toString('hex', at, at + 8);
  const salt = saltOf(16);
  let commits = 0;
  const frameBytes = FRAME_HEADER_BYTES + pageBytes;
  for (let at = LOG_HEADER_BYTES; at + frameBytes <= log.length; at += frameBytes) {
    // From here on it is what the log held before.
    if (saltOf(at + 8) !== salt) break;
    if (log.readUInt32BE(at + 4) > 0) commits++;
  }
  return { salt, commits };
}

/**
 * The store has counted its commits since as the log has. Not told if the log was begun anew meanwhile: it is large then,
 * and there are smaller rounds.
 */
export async function checkCommits(
  b: BenchRun,
  host: Host,
  database: string,
  before: { counted: number; log: LogCommits },
): Promise<void> {
  let counted = 0;
  let logged = 0;
  const isSame = (): boolean => {
    const log = logCommits(database);
    if (log.salt !== before.log.salt) return true;
    counted = host.storage().commits - before.counted;
    logged = log.commits - before.log.commits;
    return counted === logged;
  };
  // The last one may be in the log, and not counted yet.
  const agree = await until(isSame, COUNTED_WITHIN_MS);
  b.check(agree, `the store has counted ${counted} commits, its log holds ${logged}`);
}
