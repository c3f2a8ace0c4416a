/** The order of kernel releases, as `uname -r` prints them. */

type Parts = readonly string[];

/** Runs of digits and runs of letters; what stands between them only separates. */
function partsOf(release: string): Parts {
  return release.match(/[0-9]+|[A-Za-z]+/g) ?? [];
}

/** What says for which machine and by whom a kernel is built: its words without their numbers, as deb-cloud-amd for 6.12.107+deb13-cloud-amd64. */
function flavourOf(parts: Parts): string {
  return parts.filter((part) => !isNumber(part)).join('-');
}

/** True when `a` is a later kernel than `b` of the same flavour. Of two flavours neither is newer, since their numbers mean different things. */
export function isNewer(a: string, b: string): boolean {
  const [partsA, partsB] = [partsOf(a), partsOf(b)];
  return flavourOf(partsA) === flavourOf(partsB) && compareParts(partsA, partsB) > 0;
}

/** As rpm compares versions: part by part, numbers by value, a number is newer than a word, and what goes on is newer than what ends. */
function compareParts(a: Parts, b: Parts): number {
  for (const [index, part] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 1;
    const order = comparePart(part, other);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function comparePart(a: string, b: string): number {
  if (isNumber(a) !== isNumber(b)) return isNumber(a) ? 1 : -1;
  if (!isNumber(a)) return a === b ? 0 : a < b ? -1 : 1;
  const [x, y] = [BigInt(a), BigInt(b)];
  return x === y ? 0 : x < y ? -1 : 1;
}

function isNumber(part: string): boolean {
  return part.charCodeAt(0) <= '9'.charCodeAt(0);
}
