/**
 * Reads a kernel module file without trusting a byte of it: what the kernel itself reads (kernel/module/main.c, elf_validity_check), and
 * what it changes as a live patch.
 */
import { findChanges } from './functions.ts';
import type { Changes } from './functions.ts';
import { parseBuildID } from './notes.ts';
import { bad, checkHeader, contentOf, readSections } from './sections.ts';
import type { Section } from './sections.ts';

export interface ModuleInfo extends Changes {
  readonly name: string;
  readonly vermagic: string;
  /** The module is marked as a live patch: MODULE_INFO(livepatch, "Y"). */
  readonly livePatch: boolean;
  /** undefined: the module was linked without --build-id. */
  readonly buildID: string | undefined;
  /** A signature is appended. Whether its key is trusted only the kernel knows. */
  readonly signed: boolean;
}

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
  const [name, vermagic] = [required('name'), required('vermagic')];
  const buildIDNote = sections.find((section) => section.name === '.note.gnu.build-id');
  return {
    name,
    vermagic,
    livePatch: modinfo.get('livepatch') === 'Y',
    buildID: buildIDNote && parseBuildID(contentOf(bytes, buildIDNote), image.littleEndian),
    signed: bytes.subarray(-SIGNATURE_TRAILER.length).equals(SIGNATURE_TRAILER),
    ...findChanges(image, sections, releaseOf({ vermagic })),
  };
}

/** The release a module was built for: the first word of its vermagic. */
export function releaseOf({ vermagic }: Pick<ModuleInfo, 'vermagic'>): string {
  return vermagic.split(' ', 1)[0] ?? '';
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
