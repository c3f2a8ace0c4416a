/** One line of the benchmark. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the value is held against, measured in the same run, or in words where the goal is absolute. */
  readonly baseline: string;
  readonly goal: string;
  readonly ok: boolean;
}

/** The value below which this share of the samples lies (nearest rank). */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** Two decimals are as much as these machines can repeat. */
export const round = (value: number) => Math.round(value * 100) / 100;
