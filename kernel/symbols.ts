/** Counts names in the kernel's long lists (kallsyms, available_filter_functions) without looking at each of their 200,000 lines. */

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
  /** Whether the list had any line. */
  readonly any: boolean;
  /** Whether the list had every symbol. */
  readonly all: boolean;
}

/** A name ends here, or with the line. Clang with LTO gives static functions an ending, and the kernel looks them up without it (kernel/kallsyms.c, cleanup_symbol_name). */
const END = /^(?:\.llvm\.\S*)?(?:[ \t]|$)/;
const MODULE = /\[(\w+)\]/;

const keyOf = ({ object, name }: Symbol): string => `${object} ${name}`;

/**
 * `column` is how many words stand before the name: 2 in kallsyms (address, type), 0 in tracefs. A module's name follows in brackets.
 * Each name is looked for as bytes: the agent runs without a compiler, and a loop over 10 MiB in JavaScript takes 1.3 s there, a search of a name 7 ms.
 */
export function symbolCounter(symbols: readonly Symbol[], column: number): SymbolCounter {
  const needles = [...new Set(symbols.map(({ name }) => name))].map((name) => ({ name, bytes: Buffer.from(name, 'latin1') }));
  const counts = new Map<string, number>(symbols.map((symbol) => [keyOf(symbol), 0]));
  const before = new RegExp(`^(?:\\S+ ){${column}}$`);
  let any = false;

  function acceptHit(lines: Buffer, at: number, name: string): void {
    const start = lines.lastIndexOf(0x0a, at) + 1;
    const newline = lines.indexOf(0x0a, at);
    const rest = lines.toString('latin1', at + name.length, newline === -1 ? lines.length : newline);
    if (!before.test(lines.toString('latin1', start, at)) || !END.test(rest)) return;
    const key = keyOf({ object: MODULE.exec(rest)?.[1] ?? 'vmlinux', name });
    const count = counts.get(key);
    if (count !== undefined) counts.set(key, count + 1);
  }

  return {
    accept(lines) {
      any ||= lines.length > 0;
      for (const { name, bytes } of needles) for (let at = lines.indexOf(bytes); at !== -1; at = lines.indexOf(bytes, at + 1)) acceptHit(lines, at, name);
    },
    count: (symbol) => counts.get(keyOf(symbol)) ?? 0,
    get any() {
      return any;
    },
    get all() {
      return [...counts.values()].every((count) => count > 0);
    },
  };
}
