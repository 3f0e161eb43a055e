// The chess positions of the demo, from two well-known test suites (Fred Reinfeld's Win at Chess, 1958; the Bratko-Kopec
// test, 1982). None is a quick mate: there is something to think about.

export interface Position {
  /** The session's name. */
  name: string;
  fen: string;
}

/** These think for long, and are cut off by the SIGTERM. */
export const LONG: readonly Position[] = [
  { name: 'Win at Chess 7', fen: 'rnbqkb1r/pppp1ppp/8/4P3/6n1/7P/PPPNPPP1/R1BQKBNR b KQkq - 0 1' },
  { name: 'Bratko-Kopec 4', fen: 'rnbqkb1r/p3pppp/1p6/2ppP3/3N4/2P5/PPP1QPPP/R1B1KB1R w KQkq - 0 1' },
];

/** These have a run waiting when the SIGTERM comes, and nobody sends it again. */
export const QUEUED: readonly Position[] = [
  { name: 'Bratko-Kopec 12', fen: 'r3r1k1/ppqb1ppp/8/4p1NQ/8/2P5/PP3PPP/R3R1K1 b - - 0 1' },
  { name: 'Win at Chess 129', fen: '3r1r1k/1b2b1p1/1p5p/2p1Pp2/q1B2P2/4P2P/1BR1Q2K/6R1 b - - 0 1' },
];
