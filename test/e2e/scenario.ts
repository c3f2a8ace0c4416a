import type { World } from './world.ts';

/** One story on real nodes, begun from a fresh cluster with the chart installed and no policy. It throws when something is not so. */
export interface Scenario {
  /** What SCENARIO= takes. */
  readonly name: string;
  /** A sentence that is true when it passes. */
  readonly title: string;
  run(world: World): Promise<void>;
}
