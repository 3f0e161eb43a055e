// Caseless text for search, in Unicode's sense: two texts that differ in case alone fold to the same string.

/**
 * Lower, upper, lower: upper-casing expands ß and ẞ to SS, so that they match ss. Two exceptions to plain lower-casing:
 * the final sigma, which JavaScript chooses by its neighbours, and the dotless ı, which is no i. Composed (NFC), so
 * that e does not match half of é.
 */
export function fold(text: string): string {
  let folded = '';
  for (const character of text.normalize('NFC')) {
    folded += character === 'ı' ? character : character.toLowerCase().toUpperCase().toLowerCase();
  }
  return folded.replaceAll('ς', 'σ').normalize('NFC');
}
