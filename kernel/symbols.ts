/** Counts names in the kernel's long lists (kallsyms, available_filter_functions) without making a string of each of their 200,000 lines. */

export interface Symbol {
  /** vmlinux, or the name of a module. */
  readonly object: string;
  readonly name: string;
}

export interface SymbolCounter {
  /** A piece of whole lines. */
  accept(lines: Buffer): void;
  /** How often the list has the symbol. */
  count(symbol: Symbol): number;
  /** Lines with a name. */
  readonly lines: number;
}

const NEWLINE = 0x0a;
const SPACE = 0x20;
const TAB = 0x09;
const DOT = 0x2e;
/** FNV-1a, 32 bit. */
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
/** Clang with LTO gives static functions such an ending, and the kernel looks them up without it (kernel/kallsyms.c, cleanup_symbol_name). */
const LTO_ENDING = '.llvm.';

const keyOf = ({ object, name }: Symbol): string => `${object} ${name}`;

/** `column` is how many words stand before the name: 2 in kallsyms (address, type), 0 in tracefs. A module's name follows in brackets. */
export function symbolCounter(symbols: readonly Symbol[], column: number): SymbolCounter {
  const hashes = new Set(symbols.map(({ name }) => hashOf(name)));
  const counts = new Map<string, number>(symbols.map((symbol) => [keyOf(symbol), 0]));
  let lines = 0;

  function acceptName(name: string, rest: string): void {
    const object = /^[^[]*\[(\w+)\]/.exec(rest)?.[1] ?? 'vmlinux';
    const key = keyOf({ object, name });
    const count = counts.get(key);
    if (count !== undefined) counts.set(key, count + 1);
  }

  return {
    accept(piece) {
      for (let start = 0; start < piece.length; ) {
        let at = start;
        for (let word = 0; word < column && at < piece.length && piece[at] !== NEWLINE; at += 1) if (piece[at] === SPACE) word += 1;
        const from = at;
        let hash = FNV_OFFSET;
        for (; !endsName(piece, at); at += 1) hash = Math.imul(hash ^ (piece[at] ?? 0), FNV_PRIME);
        const newline = piece.indexOf(NEWLINE, at);
        const end = newline === -1 ? piece.length : newline;
        if (at > from) lines += 1;
        if (hashes.has(hash)) acceptName(piece.toString('latin1', from, at), piece.toString('latin1', at, end));
        start = end + 1;
      }
    },
    count: (symbol) => counts.get(keyOf(symbol)) ?? 0,
    get lines() {
      return lines;
    },
  };
}

function endsName(piece: Buffer, at: number): boolean {
  const byte = piece[at];
  if (byte === DOT) return piece.toString('latin1', at, at + LTO_ENDING.length) === LTO_ENDING;
  return byte === undefined || byte === NEWLINE || byte === SPACE || byte === TAB;
}

function hashOf(name: string): number {
  return Buffer.from(name, 'latin1').reduce((hash, byte) => Math.imul(hash ^ byte, FNV_PRIME), FNV_OFFSET);
}
