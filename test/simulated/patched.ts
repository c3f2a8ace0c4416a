/** The sections by which a live patch module says which functions it changes, in the kernel's form or in kpatch-build's. */
import type { PatchedFunction } from '../../kernel/functions.ts';

export interface SectionContent {
  readonly name: string;
  readonly type: number;
  readonly content: Buffer;
  readonly flags?: number;
  readonly link?: number;
  readonly info?: number;
}

/** kernel: struct klp_patch with its arrays. kpatch: .kpatch.funcs; kpatch-old: the same before it had a position. */
export type Form = 'kernel' | 'kpatch' | 'kpatch-old';

const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
const SHT_RELA = 4;
const WRITE = 1;
const ALLOC = 2;
const EXECUTE = 4;
const STT_SECTION = 3;
const STT_OBJECT = 1;
/** As in Debian's 6.12. The reader does not know them. */
const OBJECT_BYTES = 168;
const FUNCTION_BYTES = 152;

/** struct klp_patch: mod, objs, states, replace. */
const REPLACE_AT = 24;

export interface Layout {
  /** The index of the first section. */
  readonly first: number;
  readonly littleEndian: boolean;
  readonly replace: boolean;
}

interface Writer {
  readonly relocate: (at: number, to: number, addend: number) => void;
  readonly text: (value: string) => number;
  readonly variable: (at: number, size: number) => void;
}

export function patchedSections(functions: readonly PatchedFunction[], form: Form, { first, littleEndian, replace }: Layout): readonly SectionContent[] {
  const [text, strings, data, module, relocations, symbols] = [first, first + 1, first + 2, first + 3, first + 4, first + 5];
  const relas: Buffer[] = [];
  const texts: string[] = [];
  const variables: Buffer[] = [];
  const fields = (values: readonly (readonly [bytes: 1 | 2 | 4 | 8, value: number])[]): Buffer =>
    Buffer.concat(
      values.map(([bytes, value]) => {
        const field = Buffer.alloc(bytes);
        if (bytes === 8 && littleEndian) field.writeBigInt64LE(BigInt(value));
        else if (bytes === 8) field.writeBigInt64BE(BigInt(value));
        else if (littleEndian) field.writeUIntLE(value, 0, bytes);
        else field.writeUIntBE(value, 0, bytes);
        return field;
      }),
    );
  const symbol = (type: number, section: number, at: number, size: number) => fields([[4, 0], [1, type], [1, 0], [2, section], [8, at], [8, size]]);
  const writer: Writer = {
    // R_X86_64_64 against the symbol of a section, as gcc writes it. r_info is symbol << 32 | type.
    relocate: (at, to, addend) => relas.push(fields(littleEndian ? [[8, at], [4, 1], [4, to - first + 1], [8, addend]] : [[8, at], [4, to - first + 1], [4, 1], [8, addend]])),
    text(value) {
      const at = texts.reduce((sum, each) => sum + each.length + 1, 0);
      texts.push(value);
      return at;
    },
    variable: (at, size) => variables.push(symbol(STT_OBJECT, data, at, size)),
  };
  const content = form === 'kernel' ? kernelForm(functions, writer, { text, strings, data, module }, replace) : kpatchForm(functions, writer, { text, strings }, form === 'kpatch' ? 56 : 48);
  const bytes = content(fields);
  return [
    { name: '.text', type: SHT_PROGBITS, flags: ALLOC | EXECUTE, content: Buffer.alloc(16 * functions.length) },
    { name: '.rodata.str1.1', type: SHT_PROGBITS, flags: ALLOC, content: Buffer.from(texts.map((each) => `${each}\0`).join(''), 'latin1') },
    { name: form === 'kernel' ? '.data' : '.kpatch.funcs', type: SHT_PROGBITS, flags: form === 'kernel' ? ALLOC | WRITE : ALLOC, content: bytes },
    { name: '.gnu.linkonce.this_module', type: SHT_PROGBITS, flags: ALLOC | WRITE, content: Buffer.alloc(64) },
    { name: '.rela.data', type: SHT_RELA, link: symbols, info: data, content: Buffer.concat(relas) },
    { name: '.symtab', type: SHT_SYMTAB, link: relocations + 2, content: Buffer.concat([symbol(0, 0, 0, 0), ...[text, strings, data, module].map((section) => symbol(STT_SECTION, section, 0, 0)), ...variables]) },
    { name: '.strtab', type: SHT_STRTAB, content: Buffer.from('\0') },
  ];
}

type Content = (fields: (values: readonly (readonly [1 | 2 | 4 | 8, number])[]) => Buffer) => Buffer;

function kernelForm(functions: readonly PatchedFunction[], { relocate, text, variable }: Writer, at: { readonly text: number; readonly strings: number; readonly data: number; readonly module: number }, replace: boolean): Content {
  const objects = [...Map.groupBy(functions, ({ object }) => object)];
  const objectsAt = 64;
  const objectsBytes = (objects.length + 1) * OBJECT_BYTES;
  relocate(0, at.module, 0);
  relocate(8, at.data, objectsAt);
  variable(objectsAt, objectsBytes);
  let next = objectsAt + objectsBytes;
  const positions: (readonly [place: number, position: number])[] = [];
  for (const [index, [object, members]] of objects.entries()) {
    const place = objectsAt + index * OBJECT_BYTES;
    if (object !== 'vmlinux') relocate(place, at.strings, text(object));
    relocate(place + 8, at.data, next);
    variable(next, (members.length + 1) * FUNCTION_BYTES);
    for (const { name, position } of members) {
      relocate(next, at.strings, text(name));
      relocate(next + 8, at.text, 16 * positions.length);
      positions.push([next + 16, position]);
      next += FUNCTION_BYTES;
    }
    next += FUNCTION_BYTES;
  }
  return (fields) => {
    const bytes = Buffer.alloc(next);
    bytes[REPLACE_AT] = Number(replace);
    for (const [place, position] of positions) fields([[8, position]]).copy(bytes, place);
    return bytes;
  };
}

function kpatchForm(functions: readonly PatchedFunction[], { relocate, text }: Writer, at: { readonly text: number; readonly strings: number }, elementBytes: number): Content {
  for (const [index, { object, name }] of functions.entries()) {
    const element = index * elementBytes;
    relocate(element, at.text, 16 * index);
    relocate(element + elementBytes - 16, at.strings, text(name));
    relocate(element + elementBytes - 8, at.strings, text(object));
  }
  return (fields) => {
    const bytes = Buffer.alloc(functions.length * elementBytes);
    if (elementBytes === 56) for (const [index, { position }] of functions.entries()) fields([[8, position]]).copy(bytes, index * elementBytes + 32);
    return bytes;
  };
}
