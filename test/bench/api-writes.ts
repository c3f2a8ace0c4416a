/** What the API server was asked to write, by its own count. */
import type { World } from '../e2e/world.ts';

/** Every write to these API groups so far, whoever made it and whatever came of it. */
export async function countWrites({ fleet }: Pick<World, 'fleet'>, groups: readonly string[]): Promise<number> {
  const metrics = await fleet.plane.mustKubectl(['get', '--raw', '/metrics']);
  let sum = 0;
  for (const [, labels = '', value = '0'] of metrics.matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
    if (groups.some((group) => labels.includes(`group="${group}"`)) && /verb="(POST|PUT|PATCH|APPLY|DELETE)"/.test(labels)) sum += Number(value);
  }
  return sum;
}
