/** The conditions of a GRUB script (its `[` command), in three values: undefined is what can not be told without the machine's firmware and disks. */

/** undefined: not known. */
export type Value = string | undefined;
export type Truth = boolean | undefined;

/** Whether a file is there. */
export type Find = (path: string) => Truth;

/** Chains of -a, or of -o; GRUB gives the two no rank, so a mix of them is not told. */
export function test(words: readonly Value[], find: Find): Truth {
  const [anded, ored] = [words.includes('-a'), words.includes('-o')];
  if (anded && ored) return undefined;
  const terms = new Set(splitAt(words, ored ? '-o' : '-a').map((term) => testTerm(term, find)));
  if (terms.has(ored)) return ored;
  return terms.has(undefined) ? undefined : !ored;
}

function splitAt(words: readonly Value[], separator: string): readonly (readonly Value[])[] {
  const groups: Value[][] = [[]];
  for (const word of words) {
    if (word === separator) groups.push([]);
    else groups.at(-1)?.push(word);
  }
  return groups;
}

function testTerm(words: readonly Value[], find: Find): Truth {
  const [first, ...rest] = words;
  if (first !== '!') return testPlain(words, find);
  const truth = testPlain(rest, find);
  return truth === undefined ? undefined : !truth;
}

function testPlain(words: readonly Value[], find: Find): Truth {
  const [a, b, c] = words;
  if (words.length === 0) return false;
  if (words.length === 1) return a === undefined ? undefined : a !== '';
  if (words.length === 2) return testOne(a, b, find);
  if (words.length > 3 || a === undefined || c === undefined) return undefined;
  if (b === '=' || b === '==') return a === c;
  return b === '!=' ? a !== c : undefined;
}

function testOne(operator: Value, word: Value, find: Find): Truth {
  if (operator === undefined || word === undefined) return undefined;
  if (operator === '-n') return word !== '';
  if (operator === '-z') return word === '';
  return ['-e', '-f', '-s'].includes(operator) ? find(word) : undefined;
}
