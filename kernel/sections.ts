/**
 * The sections of an ELF64 relocatable file, read without trusting a byte of it. Layout: elf(5). The work is bounded by the number of
 * sections, 65,535 at most.
 */
import { KernelPatchError } from './errors.ts';

export interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly size: number;
  /** Of a symbol table its strings, of relocations their symbol table. */
  readonly link: number;
  /** Of relocations the section they are for. */
  readonly info: number;
}

/** A file whose header is one of an ELF64 relocatable file. */
export interface Image {
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

export function bad(what: string): never {
  throw new KernelPatchError('NotAModule', what);
}

/** Throws NotAModule, as all of these do. */
export function checkHeader(bytes: Buffer): Image {
  if (bytes.length < ELF_HEADER_BYTES) bad(`it has ${bytes.length} bytes, an ELF header alone has ${ELF_HEADER_BYTES}`);
  if (bytes.toString('latin1', 0, 4) !== '\x7fELF') bad(`it begins with ${bytes.toString('hex', 0, 4)} instead of 7f454c46 (ELF); a compressed module must be unpacked first`);
  if (bytes[4] !== ELFCLASS64) bad(`its ELF class is ${bytes[4]} instead of ${ELFCLASS64} (64 bit)`);
  if (bytes[5] !== ELFDATA2LSB && bytes[5] !== ELFDATA2MSB) bad(`its ELF byte order is ${bytes[5]} instead of 1 or 2`);
  const image = { bytes, littleEndian: bytes[5] === ELFDATA2LSB };
  const type = half(image, 16);
  if (type !== ET_REL) bad(`its ELF type is ${type} instead of ${ET_REL} (relocatable): it is a program or a library`);
  return image;
}

export function half(image: Image, at: number): number {
  return image.littleEndian ? image.bytes.readUInt16LE(at) : image.bytes.readUInt16BE(at);
}

export function word(image: Image, at: number): number {
  return image.littleEndian ? image.bytes.readUInt32LE(at) : image.bytes.readUInt32BE(at);
}

/** An offset or size. Values beyond 2^53 lose digits, and any of them is beyond the end of the file. */
export function long(image: Image, at: number): number {
  return Number(image.littleEndian ? image.bytes.readBigUInt64LE(at) : image.bytes.readBigUInt64BE(at));
}

export function readSections(image: Image): readonly Section[] {
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
  const links = (index: number) => ({ flags: long(image, headerAt(index) + 8), link: word(image, headerAt(index) + 40), info: word(image, headerAt(index) + 44) });
  const names = contentOf(image.bytes, { name: 'of the section names', ...region(namesIndex) });
  return Array.from({ length: count }, (_, index) => ({ name: textAt(names, word(image, headerAt(index))), ...region(index), ...links(index) }));
}

function textAt(names: Buffer, at: number): string {
  const window = names.subarray(at, at + MAX_SECTION_NAME_BYTES);
  const end = window.indexOf(0);
  return window.toString('latin1', 0, end === -1 ? window.length : end);
}

export function contentOf(bytes: Buffer, section: Pick<Section, 'name' | 'type' | 'offset' | 'size'>): Buffer {
  if (section.type === SHT_NOBITS) bad(`its section ${section.name} has no content`);
  if (section.offset + section.size > bytes.length) {
    bad(`its section ${section.name} (${section.size} bytes at ${section.offset}) lies beyond its ${bytes.length} bytes: it is cut short`);
  }
  return bytes.subarray(section.offset, section.offset + section.size);
}
