/**
 * Which functions a live patch module changes, from its relocations: the file has no other list of them, and whether it is cumulative. Only two
 * forms that are known to the last byte are read, everything else is unknown. The work is bounded.
 *
 * The kernel's own form (include/linux/livepatch.h; the first fields are the same since 4.0): struct klp_patch { mod; objs; states; replace }, an array of
 * struct klp_object { name; funcs } and for each an array of struct klp_func { old_name; new_func; old_sympos }, both closed by an empty element.
 * kpatch-build's form (kmod/patch/kpatch-patch.h): a section .kpatch.funcs whose elements end with name and objname.
 */
import { codeOf } from './errors.ts';
import { contentOf, long, word } from './sections.ts';
import type { Image, Section } from './sections.ts';

export interface PatchedFunction {
  /** vmlinux, or the name of a module. */
  readonly object: string;
  readonly name: string;
  /** Which of several functions of that name, from 1; 0: there must be one only. */
  readonly position: number;
}

/** What loading a module changes, as far as its file shows it. */
export interface Changes {
  readonly functions: readonly PatchedFunction[] | 'unknown';
  /** It is cumulative: loading it disables all other live patches (struct klp_patch, replace). */
  readonly replace: boolean | 'unknown';
}

interface Place {
  readonly section: number;
  readonly offset: number;
}

/** A loaded file as far as pointers go. */
interface Memory {
  readonly image: Image;
  readonly sections: readonly Section[];
  /** Where a pointer leads, by its own place. */
  readonly pointers: ReadonlyMap<string, Place>;
  /** Places of pointers to the module itself, as struct klp_patch begins with one. */
  readonly toModule: readonly Place[];
  /** Bytes of a variable, by its place. */
  readonly variables: ReadonlyMap<string, number>;
}

const SHT_SYMTAB = 2;
const SHT_RELA = 4;
const SHF_WRITE = 1;
const SHF_EXECINSTR = 4;
const STT_OBJECT = 1;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 24;
const POINTER_BYTES = 8;
const KPATCH_SECTION = '.kpatch.funcs';
/** With old_sympos (since 2016) and without. */
const KPATCH_ELEMENT_BYTES = [56, 48] as const;
const MODULE_SECTION = '.gnu.linkonce.this_module';
/** Debian's largest module has 150,000 relocations in all, most of them in code, which is not read. */
const MAX_ENTRIES = 200_000;
/** Cumulative live patches of distributions change some hundred. */
const MAX_FUNCTIONS = 1024;
/** vmlinux and modules; one with more is not looked into. */
const MAX_OBJECTS = 64;
/** An element has some 150 bytes. */
const MAX_ARRAY_BYTES = MAX_FUNCTIONS * 256;
/** KSYM_NAME_LEN */
const MAX_NAME_BYTES = 512;
/** struct klp_patch since 5.5; before it had no states, and distributions moved replace about. */
const REPLACE_OFFSET = 3 * POINTER_BYTES;
const REPLACE_SINCE = [5, 5] as const;
const NAME = /^[A-Za-z_][A-Za-z0-9_.$]*$/;

const keyOf = ({ section, offset }: Place): string => `${section}:${offset}`;
const behind = ({ section, offset }: Place, bytes: number): Place => ({ section, offset: offset + bytes });

const NOTHING_KNOWN: Changes = { functions: 'unknown', replace: 'unknown' };

/** Of a module for kernel `release`. Never throws. */
export function findChanges(image: Image, sections: readonly Section[], release: string): Changes {
  try {
    const memory = readMemory(image, sections);
    const root = memory && findRoot(memory);
    const functions = memory && (root ? readKernelForm(memory, root) : readKpatchForm(memory));
    if (functions === undefined || functions.length === 0 || functions.length > MAX_FUNCTIONS) return NOTHING_KNOWN;
    return { functions, replace: root && hasReplace(release) ? flagAt(memory, behind(root, REPLACE_OFFSET)) : 'unknown' };
  } catch (error) {
    if (codeOf(error) === undefined && !(error instanceof RangeError)) throw error;
    return NOTHING_KNOWN;
  }
}

function hasReplace(release: string): boolean {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  return major > REPLACE_SINCE[0] || (major === REPLACE_SINCE[0] && minor >= REPLACE_SINCE[1]);
}

function readMemory(image: Image, sections: readonly Section[]): Memory | undefined {
  const symbolTable = sections.find(({ type }) => type === SHT_SYMTAB);
  const tables = sections.filter(({ type, info }) => type === SHT_RELA && isData(sections[info]));
  if (symbolTable === undefined) return undefined;
  const entries = symbolTable.size / SYMBOL_BYTES + tables.reduce((sum, { size }) => sum + size / RELOCATION_BYTES, 0);
  if (entries > MAX_ENTRIES) return undefined;
  const symbols = { ...image, bytes: contentOf(image.bytes, symbolTable) };
  const pointers = new Map<string, Place>();
  const toModule: Place[] = [];
  for (const table of tables) {
    const relocations = { ...image, bytes: contentOf(image.bytes, table) };
    for (let at = 0; at + RELOCATION_BYTES <= table.size; at += RELOCATION_BYTES) {
      const place = { section: table.info, offset: long(relocations, at) };
      const target = targetOf(symbols, word(relocations, at + (image.littleEndian ? 12 : 8)), long(relocations, at + 16));
      pointers.set(keyOf(place), target);
      if (target.offset === 0 && sections[target.section]?.name === MODULE_SECTION) toModule.push(place);
    }
  }
  return { image, sections, pointers, toModule, variables: readVariables(symbols) };
}

function isData(section: Section | undefined): boolean {
  return section !== undefined && (section.name === KPATCH_SECTION || ((section.flags & SHF_WRITE) !== 0 && (section.flags & SHF_EXECINSTR) === 0));
}

function targetOf(symbols: Image, index: number, addend: number): Place {
  const at = index * SYMBOL_BYTES;
  return { section: sectionOf(symbols, at), offset: long(symbols, at + 8) + addend };
}

function sectionOf({ bytes, littleEndian }: Image, symbolAt: number): number {
  return littleEndian ? bytes.readUInt16LE(symbolAt + 6) : bytes.readUInt16BE(symbolAt + 6);
}

function readVariables(symbols: Image): ReadonlyMap<string, number> {
  const variables = new Map<string, number>();
  for (let at = 0; at + SYMBOL_BYTES <= symbols.bytes.length; at += SYMBOL_BYTES) {
    if (((symbols.bytes[at + 4] ?? 0) & 0xf) === STT_OBJECT) variables.set(keyOf({ section: sectionOf(symbols, at), offset: long(symbols, at + 8) }), long(symbols, at + 16));
  }
  return variables;
}

/** Where struct klp_patch is; a module of kpatch-build makes it when it is loaded. */
function findRoot(memory: Memory): Place | undefined {
  if (memory.sections.some(({ name }) => name === KPATCH_SECTION)) return undefined;
  const roots = memory.toModule.filter((place) => {
    const objects = memory.pointers.get(keyOf(behind(place, POINTER_BYTES)));
    return objects !== undefined && funcsOf(memory, objects) !== undefined;
  });
  return roots.length === 1 ? roots[0] : undefined;
}

function readKernelForm(memory: Memory, root: Place): readonly PatchedFunction[] | undefined {
  const objects = memory.pointers.get(keyOf(behind(root, POINTER_BYTES)));
  const elements = objects && elementsOf(memory, objects, (place) => funcsOf(memory, place) !== undefined);
  if (elements === undefined || elements.length > MAX_OBJECTS) return undefined;
  return allOrNone(elements.map((place) => readObject(memory, place)));
}

function readObject(memory: Memory, object: Place): readonly PatchedFunction[] | undefined {
  const name = memory.pointers.has(keyOf(object)) ? textAt(memory, object) : 'vmlinux';
  const funcs = funcsOf(memory, object);
  const elements = funcs && elementsOf(memory, funcs, (place) => isFunction(memory, place));
  if (name === undefined || elements === undefined) return undefined;
  return allOrNone(elements.map((place) => readFunction(memory, name, { name: place, position: behind(place, 2 * POINTER_BYTES) })));
}

/** Where an object's functions are: the pointer behind its name leads to a first function. */
function funcsOf(memory: Memory, object: Place): Place | undefined {
  const funcs = memory.pointers.get(keyOf(behind(object, POINTER_BYTES)));
  return funcs && isFunction(memory, funcs) ? funcs : undefined;
}

/** A name, and behind it a pointer to code. */
function isFunction(memory: Memory, place: Place): boolean {
  return textAt(memory, place) !== undefined && isCode(memory, behind(place, POINTER_BYTES));
}

function isCode({ pointers, sections }: Memory, place: Place): boolean {
  const target = pointers.get(keyOf(place));
  return target !== undefined && ((sections[target.section]?.flags ?? 0) & SHF_EXECINSTR) !== 0;
}

/**
 * The elements of an array variable that ends with an empty one. How long an element is depends on the kernel's options, and follows from
 * the variable's size once it is known how many there are; undefined when the elements are not where that puts them.
 */
function elementsOf({ variables, pointers }: Memory, array: Place, isElement: (place: Place) => boolean): readonly Place[] | undefined {
  const size = variables.get(keyOf(array));
  if (size === undefined || size > MAX_ARRAY_BYTES) return undefined;
  const found: Place[] = [];
  for (let offset = 0; offset < size; offset += POINTER_BYTES) if (isElement(behind(array, offset))) found.push(behind(array, offset));
  const elementBytes = size / (found.length + 1);
  const last = behind(array, found.length * elementBytes);
  const regular = found.every(({ offset }, index) => offset === array.offset + index * elementBytes);
  return regular && !pointers.has(keyOf(last)) && !pointers.has(keyOf(behind(last, POINTER_BYTES))) ? found : undefined;
}

function readKpatchForm(memory: Memory): readonly PatchedFunction[] | undefined {
  const section = memory.sections.findIndex(({ name }) => name === KPATCH_SECTION);
  const size = memory.sections[section]?.size ?? 0;
  for (const bytes of KPATCH_ELEMENT_BYTES) {
    const elements = size % bytes === 0 ? Array.from({ length: Math.min(size / bytes, MAX_FUNCTIONS + 1) }, (_, index) => ({ section, offset: index * bytes })) : [];
    const functions = allOrNone(elements.map((element) => readKpatchElement(memory, element, bytes)));
    if (functions !== undefined && functions.length > 0) return functions;
  }
  return undefined;
}

function readKpatchElement(memory: Memory, element: Place, bytes: number): readonly PatchedFunction[] | undefined {
  const object = textAt(memory, behind(element, bytes - POINTER_BYTES));
  if (object === undefined || !isCode(memory, element)) return undefined;
  const position = bytes === KPATCH_ELEMENT_BYTES[0] ? behind(element, 4 * POINTER_BYTES) : undefined;
  return readFunction(memory, object, { name: behind(element, bytes - 2 * POINTER_BYTES), position });
}

function readFunction(memory: Memory, object: string, at: { readonly name: Place; readonly position: Place | undefined }): readonly PatchedFunction[] | undefined {
  const name = textAt(memory, at.name);
  return name === undefined ? undefined : [{ object, name, position: at.position === undefined ? 0 : numberAt(memory, at.position) }];
}

function numberAt({ image, sections }: Memory, { section, offset }: Place): number {
  const content = contentOf(image.bytes, sections[section] as Section);
  return long({ ...image, bytes: content }, offset);
}

/** A C bool. */
function flagAt({ image, sections }: Memory, { section, offset }: Place): boolean | 'unknown' {
  const value = contentOf(image.bytes, sections[section] as Section)[offset];
  return value === 0 || value === 1 ? value === 1 : 'unknown';
}

/** The name that the pointer at `place` leads to; undefined when it leads to no name. */
function textAt({ image, sections, pointers }: Memory, place: Place): string | undefined {
  const target = pointers.get(keyOf(place));
  const section = target && sections[target.section];
  if (section === undefined || (section.flags & SHF_EXECINSTR) !== 0) return undefined;
  const window = contentOf(image.bytes, section).subarray(target?.offset, (target?.offset ?? 0) + MAX_NAME_BYTES);
  const text = window.toString('latin1', 0, window.indexOf(0));
  return NAME.test(text) ? text : undefined;
}

function allOrNone<T>(lists: readonly (readonly T[] | undefined)[]): readonly T[] | undefined {
  return lists.every((list) => list !== undefined) ? lists.flat() : undefined;
}
