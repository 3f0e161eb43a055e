// Cuts the text of one document into passages: each knows its heading and the line it starts on.

/** One piece of a document, small enough to be read as an answer. */
export interface Passage {
  /** Line of the document, from 1. The first passage under a heading starts on the heading's line. */
  line: number;
  /** The nearest heading above; empty before the first one. */
  heading: string;
  text: string;
}

/** Which headings a document may have: `# one`, or one underlined with any punctuation, or only with === and ---. */
export type DocumentStyle = 'markdown' | 'rst' | 'plain';

/** From this size on a passage ends at the next blank line. */
const PASSAGE_SOFT_CHARS = 700;
/** No passage is longer: a longer paragraph, or a line without end, is cut. */
export const PASSAGE_MAX_CHARS = 1_400;
/** Longer lines are never headings. It also keeps the patterns below away from lines of megabytes. */
const HEADING_MAX_CHARS = 200;

const RULER = /^([=\-~^"'`#*+._:])\1{2,}$/;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const ATX_HEADING = /^ {0,3}#{1,6}[ \t]+\S/;

/** The passages of a document, in its order. */
export function cutIntoPassages(text: string, style: DocumentStyle): Passage[] {
  const cutter = new Cutter();
  const lines = text.split(/\r\n|\n|\r/);
  let fence: string | null = null;
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    if (style === 'markdown') {
      const marker = FENCE.exec(line)?.[1];
      if (fence !== null) {
        // Inside a code block a '#' is a comment, not a heading.
        if (marker !== undefined && marker.startsWith(fence)) fence = null;
        else cutter.add(line, i + 1);
        continue;
      }
      if (marker !== undefined) {
        fence = marker;
        continue;
      }
    }
    const heading = headingAt(lines, i, style);
    if (heading !== null) {
      cutter.startSection(heading.title, i + 1);
      i += heading.lines - 1;
    } else if (!RULER.test(line.trim())) {
      cutter.add(line, i + 1);
    }
  }
  return cutter.finish();
}

function headingAt(lines: string[], at: number, style: DocumentStyle): { title: string; lines: number } | null {
  const line = lines[at] ?? '';
  if (line.length > HEADING_MAX_CHARS || line.trim() === '') return null;
  if (style === 'markdown' && ATX_HEADING.test(line)) {
    const title = line.trim().replace(/^#+/, '').replace(/#+$/, '').trim();
    return title === '' ? null : { title, lines: 1 };
  }
  const title = line.trim();
  const under = (lines[at + 1] ?? '').trimEnd();
  const above = (lines[at - 1] ?? '').trim();
  if (under.length > HEADING_MAX_CHARS || RULER.test(title) || !RULER.test(under)) return null;
  const underlinedBy = under.charAt(0);
  if (style !== 'rst' && underlinedBy !== '=' && underlinedBy !== '-') return null;
  // Only Markdown takes a short underline; elsewhere it is more likely a separator below a line of text.
  if (style !== 'markdown' && under.length < title.length) return null;
  // A paragraph's last line above a separator is no heading, nor is the last line of a front matter.
  const standsAlone = above === '' || (style === 'rst' && RULER.test(above));
  return standsAlone ? { title, lines: 2 } : null;
}

/** Gathers lines into passages. */
class Cutter {
  readonly #passages: Passage[] = [];
  #heading = '';
  /** The heading's line while no passage has taken it; a heading without any text becomes a passage of its own. */
  #headingLine: number | null = null;
  #lines: string[] = [];
  #firstLine = 0;
  #chars = 0;

  startSection(heading: string, line: number): void {
    this.#flush();
    this.#flushBareHeading();
    this.#heading = heading;
    this.#headingLine = line;
  }

  add(line: string, lineNumber: number): void {
    if (line.trim() === '') {
      if (this.#chars >= PASSAGE_SOFT_CHARS) this.#flush();
      else if (this.#lines.length > 0) this.#push('', lineNumber);
      return;
    }
    let rest = line.trimEnd();
    while (rest.length > PASSAGE_MAX_CHARS) {
      this.#flush();
      const cut = cutPoint(rest);
      this.#push(rest.slice(0, cut), lineNumber);
      rest = rest.slice(cut).trimStart();
    }
    if (this.#chars + rest.length > PASSAGE_MAX_CHARS) this.#flush();
    this.#push(rest, lineNumber);
  }

  finish(): Passage[] {
    this.#flush();
    this.#flushBareHeading();
    return this.#passages;
  }

  #push(line: string, lineNumber: number): void {
    if (this.#lines.length === 0) this.#firstLine = lineNumber;
    this.#lines.push(line);
    this.#chars += line.length + 1;
  }

  #flush(): void {
    const text = this.#lines.join('\n').trimEnd();
    const line = this.#headingLine ?? this.#firstLine;
    this.#lines = [];
    this.#chars = 0;
    if (text === '') return;
    this.#headingLine = null;
    this.#passages.push({ line, heading: this.#heading, text });
  }

  #flushBareHeading(): void {
    if (this.#headingLine === null) return;
    this.#passages.push({ line: this.#headingLine, heading: this.#heading, text: this.#heading });
    this.#headingLine = null;
  }
}

/** Where to cut an overlong line: at its last space if that is not far, and never inside a surrogate pair. */
function cutPoint(line: string): number {
  const space = line.lastIndexOf(' ', PASSAGE_MAX_CHARS);
  if (space > PASSAGE_MAX_CHARS / 2) return space;
  const code = line.charCodeAt(PASSAGE_MAX_CHARS - 1);
  return code >= 0xd800 && code <= 0xdbff ? PASSAGE_MAX_CHARS - 1 : PASSAGE_MAX_CHARS;
}
