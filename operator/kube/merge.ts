/** Merge patches (RFC 7386). */

type Fields = Readonly<Record<string, unknown>>;

/** The patch that makes `to` of `from`: what `from` has and `to` has not is taken out. Lists are replaced as a whole. */
export function mergePatch(from: Fields, to: Fields): Fields {
  const patch: Record<string, unknown> = {};
  for (const key of Object.keys(from)) if (to[key] === undefined) patch[key] = null;
  for (const [key, value] of Object.entries(to)) if (value !== undefined) patch[key] = isFields(value) && isFields(from[key]) ? mergePatch(from[key], value) : value;
  return patch;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
