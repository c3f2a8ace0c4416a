/** GRUB's environment block (grubenv): variables that outlive a boot, as grub-editenv, grub-reboot and grub2-set-default write them. */

const SIGNATURE = '# GRUB Environment Block\n';
const LINE = /^([^#=][^=]*)=(.*)$/s;

/** The variables of the block; none of a file that is no block, as in GRUB itself. */
export function parseEnvironment(text: string): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  if (!text.startsWith(SIGNATURE)) return variables;
  for (const line of unescapedLines(text.slice(SIGNATURE.length))) {
    const [, name, value] = LINE.exec(line) ?? [];
    if (name !== undefined && value !== undefined) variables.set(name, value);
  }
  return variables;
}

/** A backslash makes the character behind it, as a newline, a part of the value. The padding of # ends with no newline. */
function unescapedLines(text: string): readonly string[] {
  const lines = text.match(/(?:[^\\\n]+|\\[\s\S])+/g) ?? [];
  return lines.map((line) => line.replaceAll(/\\([\s\S])/g, '$1'));
}
