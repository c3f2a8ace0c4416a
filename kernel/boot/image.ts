/**
 * Whether a kernel's image file is all there. A boot loader and kexec_file_load take a bzImage that is cut short without an error, and its start
 * fails; its header says how long it must be (Documentation/arch/x86/boot.rst). Images of other machines say nothing that is read here.
 */

export type Wholeness = { readonly kind: 'Whole' } | { readonly kind: 'Truncated'; readonly neededBytes: number } | { readonly kind: 'Unknown' };

/** To the end of the header's fields that are read. */
export const IMAGE_HEADER_BYTES = 0x208;
const SETUP_SECTS_AT = 0x1f1;
const SYSSIZE_AT = 0x1f4;
const BOOT_FLAG_AT = 0x1fe;
const BOOT_FLAG = 0xaa55;
const MAGIC_AT = 0x202;
const VERSION_AT = 0x206;
/** Before it syssize had two bytes, too few for today's kernels. */
const SYSSIZE_OF_FOUR_BYTES = 0x0204;
const SECTOR_BYTES = 512;
const PARAGRAPH_BYTES = 16;
/** What setup_sects 0 means, "for backwards compatibility". */
const DEFAULT_SETUP_SECTS = 4;

/** `start` are the first bytes of an image of `bytes` bytes. A signature behind the image is not asked for. */
export function judgeImage(start: Buffer, bytes: number): Wholeness {
  if (bytes === 0) return { kind: 'Truncated', neededBytes: 1 };
  if (!isBzImage(start)) return { kind: 'Unknown' };
  const sectors = (start[SETUP_SECTS_AT] || DEFAULT_SETUP_SECTS) + 1;
  const neededBytes = sectors * SECTOR_BYTES + start.readUInt32LE(SYSSIZE_AT) * PARAGRAPH_BYTES;
  return bytes < neededBytes ? { kind: 'Truncated', neededBytes } : { kind: 'Whole' };
}

function isBzImage(start: Buffer): boolean {
  if (start.length < IMAGE_HEADER_BYTES || start.readUInt16LE(BOOT_FLAG_AT) !== BOOT_FLAG) return false;
  return start.toString('latin1', MAGIC_AT, VERSION_AT) === 'HdrS' && start.readUInt16LE(VERSION_AT) >= SYSSIZE_OF_FOUR_BYTES;
}
