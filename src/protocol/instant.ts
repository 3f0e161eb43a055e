// One clock for all threads of the process: what two of them say can be put in order by it. (performance.now() begins with
// each thread, and the system's clock may be set.)

/** The platform's own, whatever an agent puts in its place. */
const now = process.hrtime.bigint.bind(process.hrtime);

/** Milliseconds that only grow. */
export function instantMs(): number {
  return Number(now()) / 1e6;
}
