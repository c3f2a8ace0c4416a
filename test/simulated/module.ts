/** Builds kernel module files: real ELF64 relocatable objects with the sections that identify a module, and no code. */
import type { PatchedFunction } from '../../kernel/functions.ts';
import { patchedSections } from './patched.ts';
import type { Form, SectionContent } from './patched.ts';

export interface ModuleOptions {
  readonly name?: string;
  readonly release?: string;
  readonly livePatch?: boolean;
  /** null: without one. */
  readonly buildID?: string | null;
  readonly signed?: boolean;
  readonly littleEndian?: boolean;
  readonly modinfo?: readonly string[];
  /** The functions it lists, and in which form; without them it lists none. */
  readonly patches?: readonly PatchedFunction[];
  readonly form?: Form;
  /** Cumulative; only a module that lists functions says so. */
  readonly replace?: boolean;
}

export const RELEASE = '6.12.107+deb13-cloud-amd64';
export const MODULE_BUILD_ID = '3b6f0c2d5e8a917c4d1f00aa11bb22cc33dd44ee';

const NT_GNU_BUILD_ID = 3;
const SHT_PROGBITS = 1;
const SHT_STRTAB = 3;
const SHT_NOTE = 7;

export function aModule(options: ModuleOptions = {}): Buffer {
  const { name = 'livepatch_fix', release = RELEASE, livePatch = true, buildID = MODULE_BUILD_ID, signed = false, littleEndian = true } = options;
  const modinfo = options.modinfo ?? [
    'license=GPL',
    ...(livePatch ? ['livepatch=Y'] : []),
    'srcversion=0123456789ABCDEF01234567',
    'depends=',
    `name=${name}`,
    `vermagic=${release} SMP preempt mod_unload modversions `,
  ];
  const sections: SectionContent[] = [
    { name: '', type: 0, content: Buffer.alloc(0) },
    { name: '.modinfo', type: SHT_PROGBITS, content: Buffer.from(modinfo.map((pair) => `${pair}\0`).join('')) },
    ...(buildID === null ? [] : [{ name: '.note.gnu.build-id', type: SHT_NOTE, content: buildIDNote(buildID, littleEndian) }]),
  ];
  const image = writeElf([...sections, ...listed(options, sections.length)], littleEndian);
  return signed ? Buffer.concat([image, Buffer.from('SIGNATURE~Module signature appended~\n')]) : image;
}

function listed({ patches = [], form = 'kernel', littleEndian = true, replace = true }: ModuleOptions, first: number): readonly SectionContent[] {
  return patches.length === 0 ? [] : patchedSections(patches, form, { first, littleEndian, replace });
}

/** An ELF note with a GNU build id, as in /sys/kernel/notes. */
export function buildIDNote(buildID: string, littleEndian = true): Buffer {
  const description = Buffer.from(buildID, 'hex');
  const note = Buffer.alloc(16 + Math.ceil(description.length / 4) * 4);
  const word = (value: number, at: number) => (littleEndian ? note.writeUInt32LE(value, at) : note.writeUInt32BE(value, at));
  word(4, 0);
  word(description.length, 4);
  word(NT_GNU_BUILD_ID, 8);
  note.write('GNU\0', 12, 'latin1');
  description.copy(note, 16);
  return note;
}

function writeElf(contents: readonly SectionContent[], littleEndian: boolean): Buffer {
  const names = [...contents.map(({ name }) => name), '.shstrtab'];
  const nameTable = Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1');
  const sections = [...contents, { name: '.shstrtab', type: SHT_STRTAB, content: nameTable }];
  const bodyBytes = sections.reduce((sum, { content }) => sum + content.length, 0);
  const tableAt = 64 + bodyBytes;
  const image = Buffer.alloc(tableAt + sections.length * 64);
  const half = (value: number, at: number) => (littleEndian ? image.writeUInt16LE(value, at) : image.writeUInt16BE(value, at));
  const word = (value: number, at: number) => (littleEndian ? image.writeUInt32LE(value, at) : image.writeUInt32BE(value, at));
  const long = (value: number, at: number) => (littleEndian ? image.writeBigUInt64LE(BigInt(value), at) : image.writeBigUInt64BE(BigInt(value), at));
  image.write('\x7fELF', 0, 'latin1');
  image.set([2, littleEndian ? 1 : 2, 1], 4);
  half(1, 16); // ET_REL
  half(62, 18); // EM_X86_64
  word(1, 20);
  long(tableAt, 40);
  half(64, 52);
  half(64, 58);
  half(sections.length, 60);
  half(sections.length - 1, 62);
  let at = 64;
  let nameAt = 0;
  for (const [index, { name, type, content, flags = 0, link = 0, info = 0 }] of sections.entries()) {
    const header = tableAt + index * 64;
    word(nameAt, header);
    word(type, header + 4);
    long(flags, header + 8);
    long(at, header + 24);
    long(content.length, header + 32);
    word(link, header + 40);
    word(info, header + 44);
    content.copy(image, at);
    at += content.length;
    nameAt += name.length + 1;
  }
  return image;
}
