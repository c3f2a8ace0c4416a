/** Kernel command lines, taken apart as the kernel does it (lib/cmdline.c, next_arg; kernel/params.c, parse_args). Pure. */

/** What names the reboot order by which a kernel was started by kexec. */
const NONCE = 'kernelpatch.reboot';
/** What a boot loader says of the files that it has read. */
const OF_THE_BOOT_LOADER: ReadonlySet<string> = new Set(['BOOT_IMAGE', 'initrd']);
/** An id that needs no quotes. What somebody else wrote there is none. */
const ID = /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;
/** Everything behind it is for init. */
const END = '--';
/**
 * COMMAND_LINE_SIZE is 2048 on x86 with the NUL at the end, and kexec_file_load keeps 30 bytes for the address of a crashed kernel's memory, which it would
 * add (arch/x86/kernel/kexec-bzimage64.c).
 */
export const MAX_COMMAND_LINE_BYTES = 2048 - 1 - 1 - 30;
/** Long enough to read a panic on a screen; a server's firmware takes longer than that. */
export const PANIC_SECONDS = 10;

export interface CommandLine {
  /** As they are written, quotes included. */
  readonly options: readonly string[];
  /** What is for init, from the `--` on. */
  readonly init: readonly string[];
}

/** An option: white space separates them, but not between double quotes. */
const WORD = /(?:"[^"]*(?:"|$)|[^ \t\n\v\f\r"])+/g;

export function parseCommandLine(line: string): CommandLine {
  const words = line.match(WORD) ?? [];
  const end = words.findIndex((word) => unquoted(word) === END);
  return end === -1 ? { options: words, init: [] } : { options: words.slice(0, end), init: words.slice(end) };
}

/** The id of the order by which this kernel was started; undefined: none. */
export function readNonce(line: string): string | undefined {
  const nonce = parseCommandLine(line).options.findLast((option) => keyOf(option) === NONCE);
  const id = nonce === undefined ? '' : unquoted(nonce).slice(NONCE.length + 1);
  return ID.test(id) ? id : undefined;
}

/**
 * The command line of the kernel that is started by kexec for the order with this id: the running one, as it was given. What the boot loader said of other files, and an
 * earlier id, are left out. A panic ends in a reboot after PANIC_SECONDS where the line says nothing of it: the firmware's kernel comes back then, and without it the node would hang.
 * Ours stands in front: behind a quote that is not closed it would be part of that option, and behind `--` it would be init's.
 */
export function mergeCommandLine(running: string, id: string): string {
  const { options, init } = parseCommandLine(running);
  const kept = options.filter((option) => !OF_THE_BOOT_LOADER.has(keyOf(option)) && keyOf(option) !== NONCE);
  const panic = kept.some((option) => keyOf(option) === 'panic') ? [] : [`panic=${PANIC_SECONDS}`];
  return [`${NONCE}=${id}`, ...panic, ...kept, ...init].join(' ');
}

/** What stands before the first `=`, or all of it. */
function keyOf(option: string): string {
  return unquoted(option).split('=', 1)[0] ?? '';
}

/** Without the quotes around all of it. */
function unquoted(word: string): string {
  return word.startsWith('"') ? word.slice(1, word.endsWith('"') && word.length > 1 ? -1 : undefined) : word;
}
