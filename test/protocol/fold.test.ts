// Caseless text, in Unicode's sense.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fold } from '../../src/protocol/fold.js';

const found = (text: string, q: string): boolean => fold(text).includes(fold(q));

test('ß, SS and ss are the same text', () => {
  assert.equal(fold('Straße'), fold('STRASSE'));
  assert.equal(fold('straße'), 'strasse');
});

test('the capital ẞ is the same text as ß', () => {
  assert.equal(fold('STRAẞE'), fold('Straße'));
});

test('sigma is one letter at the end of a word and inside it', () => {
  assert.equal(fold('ὈΔΥΣΣΕΎΣ'), fold('ὀδυσσεύς'));
  assert.ok(found('Οδυσσεύς', 'ΣΣΕΎΣ'));
  assert.ok(found('ΣΑΣ', 'ς'));
});

test('É composed and É decomposed are the same text, and e is neither', () => {
  assert.equal(fold('R\u00c9SUM\u00c9'), fold('re\u0301sume\u0301'));
  assert.ok(!found('r\u00e9sum\u00e9', 'resume'));
  assert.ok(!found('re\u0301sume\u0301', 'e'));
});

test('the dotless ı is no i, whatever their upper cases are', () => {
  assert.notEqual(fold('ı'), fold('i'));
  assert.ok(!found('kırmızı', 'I'));
  assert.equal(fold('KIRMIZI'), 'kirmizi');
});

test('İ is i with a dot above it, composed or not', () => {
  assert.equal(fold('\u0130stanbul'), fold('I\u0307stanbul'));
  assert.equal(fold('\u0130'), 'i\u0307');
});

test('letters whose case Unicode pairs by a rule of their own are the same text', () => {
  for (const [a, b] of [
    ['\u212a', 'k'], // Kelvin
    ['\u017f', 's'], // long s
    ['ﬁ', 'FI'],
    ['Ǆ', 'ǆ'],
    ['ᾳ', 'ΑΙ'],
    ['Ꭰ', 'ꭰ'],
    ['𐐀', '𐐨'], // beyond 16 bit
  ] as const) {
    assert.equal(fold(a), fold(b), `${a} and ${b}`);
  }
});

test('every character of Unicode folds as its upper and its lower case do, but for the Turkic i', () => {
  const wrong: string[] = [];
  for (let code = 0; code <= 0x10ffff; code++) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    const c = String.fromCodePoint(code);
    if ('Iiıİ'.includes(c)) continue;
    const folded = fold(c);
    if (folded !== fold(c.toUpperCase()) || folded !== fold(c.toLowerCase())) wrong.push(`U+${code.toString(16)}`);
  }
  assert.deepEqual(wrong, []);
});

test('folding what is folded changes nothing, and letters without case stay', () => {
  for (const text of ['ß', 'ẞ', 'ΣΑΣ', 'İ', 'ŉ', '日本語', '😀 100% _ "quoted"', '']) {
    assert.equal(fold(fold(text)), fold(text), text);
  }
  assert.equal(fold('日本語 100%_'), '日本語 100%_');
});
