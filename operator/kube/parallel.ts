/** Runs `work` for each item, at most `limit` at a time, all of them whatever fails. Resolves with what they threw. */
export async function inParallel<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<readonly unknown[]> {
  const errors: unknown[] = [];
  const rest = items.values();
  async function worker(): Promise<void> {
    for (const item of rest) {
      try {
        await work(item);
      } catch (error) {
        errors.push(error);
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return errors;
}
