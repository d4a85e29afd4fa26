/** A POSIX shell's words, without what a shell would expand. */
import { RingsideError } from '../../../core/errors.ts';

const MAX_WORDS = 4000;

/** @throws RingsideError 'bad-option' for a quote that does not end, or far too many words */
export function shellWords(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (quote === "'") {
      if (char === "'") quote = null;
      else word += char;
    } else if (char === '\\') {
      const next = text[++at] ?? '';
      // A line that goes on.
      if (next === '\n' || (next === '\r' && text[at + 1] === '\n')) {
        if (next === '\r') at++;
        continue;
      }
      word ??= '';
      // Inside double quotes a backslash is itself, but for what it can take the meaning from.
      word += quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next;
    } else if (quote === '"') {
      if (char === '"') quote = null;
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
      if (words.length > MAX_WORDS)
        throw new RingsideError('bad-option', 'this is no command line: far too many words');
    } else if (char === '#' && word === null) {
      while (at < text.length && text[at] !== '\n') at++;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== null)
    throw new RingsideError('bad-option', `a ${quote} is opened and not closed: copy the whole command`);
  if (word !== null) words.push(word);
  return words;
}
