/** ELF notes: in module files, in /sys/kernel/notes and in /sys/module/NAME/notes. See elf(5), "Notes (Nhdr)". */

const NT_GNU_BUILD_ID = 3;
const NOTE_HEADER_BYTES = 12;
/** What the protocol allows: 8 to 32 bytes. ld makes 20 (sha1) by default. */
const MIN_BUILD_ID_BYTES = 8;
const MAX_BUILD_ID_BYTES = 32;

/** The GNU build id in lower-case hex, or undefined when the notes have none or are cut short. */
export function parseBuildID(notes: Buffer, littleEndian: boolean): string | undefined {
  const word = (at: number): number => (littleEndian ? notes.readUInt32LE(at) : notes.readUInt32BE(at));
  let at = 0;
  while (at + NOTE_HEADER_BYTES <= notes.length) {
    const nameBytes = word(at);
    const descriptionBytes = word(at + 4);
    const type = word(at + 8);
    const nameAt = at + NOTE_HEADER_BYTES;
    const descriptionAt = nameAt + padded(nameBytes);
    const end = descriptionAt + descriptionBytes;
    if (end > notes.length) return undefined;
    const isBuildID = type === NT_GNU_BUILD_ID && notes.toString('latin1', nameAt, nameAt + nameBytes) === 'GNU\0';
    if (isBuildID && descriptionBytes >= MIN_BUILD_ID_BYTES && descriptionBytes <= MAX_BUILD_ID_BYTES) return notes.toString('hex', descriptionAt, end);
    at = descriptionAt + padded(descriptionBytes);
  }
  return undefined;
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
