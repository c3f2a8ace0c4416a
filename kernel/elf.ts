/**
 * Reads a kernel module file without trusting a byte of it. Layout: elf(5); what the kernel itself reads: kernel/module/main.c,
 * elf_validity_check. The work is bounded by the number of sections, 65,535 at most.
 */
import { KernelPatchError } from './errors.ts';
import { parseBuildID } from './notes.ts';

export interface ModuleInfo {
  readonly name: string;
  readonly vermagic: string;
  /** The module is marked as a live patch: MODULE_INFO(livepatch, "Y"). */
  readonly livePatch: boolean;
  /** undefined: the module was linked without --build-id. */
  readonly buildID: string | undefined;
  /** A signature is appended. Whether its key is trusted only the kernel knows. */
  readonly signed: boolean;
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

interface Image {
  readonly bytes: Buffer;
  readonly littleEndian: boolean;
}

const ELF_HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ELFDATA2MSB = 2;
const ET_REL = 1;
const SHT_NOBITS = 8;
/** The longest section name that is looked for is far shorter. */
const MAX_SECTION_NAME_BYTES = 64;
/** Debian's modules have some 500 bytes; the parameters of a large driver some 20 KiB. */
const MAX_MODINFO_BYTES = 1024 * 1024;
/** include/linux/module_signature.h */
const SIGNATURE_TRAILER = Buffer.from('~Module signature appended~\n');

/** Throws NotAModule, with what is wrong in the message, and nothing else, whatever the bytes are. */
export function parseModule(bytes: Buffer): ModuleInfo {
  const image = checkHeader(bytes);
  const sections = readSections(image);
  const modinfo = readModinfo(bytes, sections);
  const required = (key: string): string => modinfo.get(key) ?? bad(`.modinfo has no ${key}=`);
  const buildIDNote = sections.find((section) => section.name === '.note.gnu.build-id');
  return {
    name: required('name'),
    vermagic: required('vermagic'),
    livePatch: modinfo.get('livepatch') === 'Y',
    buildID: buildIDNote && parseBuildID(contentOf(bytes, buildIDNote), image.littleEndian),
    signed: bytes.subarray(-SIGNATURE_TRAILER.length).equals(SIGNATURE_TRAILER),
  };
}

/** The release a module was built for: the first word of its vermagic. */
export function releaseOf(module: ModuleInfo): string {
  return module.vermagic.split(' ', 1)[0] ?? '';
}

function bad(what: string): never {
  throw new KernelPatchError('NotAModule', what);
}

function checkHeader(bytes: Buffer): Image {
  if (bytes.length < ELF_HEADER_BYTES) bad(`it has ${bytes.length} bytes, an ELF header alone has ${ELF_HEADER_BYTES}`);
  if (bytes.toString('latin1', 0, 4) !== '\x7fELF') bad(`it begins with ${bytes.toString('hex', 0, 4)} instead of 7f454c46 (ELF); a compressed module must be unpacked first`);
  if (bytes[4] !== ELFCLASS64) bad(`its ELF class is ${bytes[4]} instead of ${ELFCLASS64} (64 bit)`);
  if (bytes[5] !== ELFDATA2LSB && bytes[5] !== ELFDATA2MSB) bad(`its ELF byte order is ${bytes[5]} instead of 1 or 2`);
  const image = { bytes, littleEndian: bytes[5] === ELFDATA2LSB };
  const type = half(image, 16);
  if (type !== ET_REL) bad(`its ELF type is ${type} instead of ${ET_REL} (relocatable): it is a program or a library`);
  return image;
}

function half(image: Image, at: number): number {
  return image.littleEndian ? image.bytes.readUInt16LE(at) : image.bytes.readUInt16BE(at);
}

function word(image: Image, at: number): number {
  return image.littleEndian ? image.bytes.readUInt32LE(at) : image.bytes.readUInt32BE(at);
}

/** An offset or size. Values beyond 2^53 lose digits, and any of them is beyond the end of the file. */
function long(image: Image, at: number): number {
  return Number(image.littleEndian ? image.bytes.readBigUInt64LE(at) : image.bytes.readBigUInt64BE(at));
}

function readSections(image: Image): readonly Section[] {
  const tableAt = long(image, 40);
  const headerBytes = half(image, 58);
  const count = half(image, 60);
  const namesIndex = half(image, 62);
  if (headerBytes !== SECTION_HEADER_BYTES) bad(`its section headers have ${headerBytes} bytes instead of ${SECTION_HEADER_BYTES}`);
  if (count === 0) bad('it has no section table');
  if (tableAt + count * SECTION_HEADER_BYTES > image.bytes.length) {
    bad(`its section table (${count} sections at ${tableAt}) lies beyond its ${image.bytes.length} bytes: it is cut short`);
  }
  if (namesIndex >= count) bad(`its section names are in section ${namesIndex} of ${count}`);
  const headerAt = (index: number): number => tableAt + index * SECTION_HEADER_BYTES;
  const region = (index: number) => ({ type: word(image, headerAt(index) + 4), offset: long(image, headerAt(index) + 24), size: long(image, headerAt(index) + 32) });
  const names = contentOf(image.bytes, { name: 'of the section names', ...region(namesIndex) });
  return Array.from({ length: count }, (_, index) => ({ name: textAt(names, word(image, headerAt(index))), ...region(index) }));
}

function textAt(names: Buffer, at: number): string {
  const window = names.subarray(at, at + MAX_SECTION_NAME_BYTES);
  const end = window.indexOf(0);
  return window.toString('latin1', 0, end === -1 ? window.length : end);
}

function contentOf(bytes: Buffer, section: Section): Buffer {
  if (section.type === SHT_NOBITS) bad(`its section ${section.name} has no content`);
  if (section.offset + section.size > bytes.length) {
    bad(`its section ${section.name} (${section.size} bytes at ${section.offset}) lies beyond its ${bytes.length} bytes: it is cut short`);
  }
  return bytes.subarray(section.offset, section.offset + section.size);
}

/** The key=value pairs of .modinfo; of a key that is there twice, the first, as in the kernel's get_modinfo. */
function readModinfo(bytes: Buffer, sections: readonly Section[]): ReadonlyMap<string, string> {
  const section = sections.find(({ name }) => name === '.modinfo') ?? bad('it has no .modinfo section: it is an object file, not a kernel module');
  const content = contentOf(bytes, section);
  if (content.length > MAX_MODINFO_BYTES) bad(`its .modinfo has ${content.length} bytes, more than ${MAX_MODINFO_BYTES}`);
  const pairs = new Map<string, string>();
  for (const entry of content.toString('utf8').split('\0')) {
    const equals = entry.indexOf('=');
    const key = entry.slice(0, equals);
    if (equals > 0 && !pairs.has(key)) pairs.set(key, entry.slice(equals + 1));
  }
  return pairs;
}
