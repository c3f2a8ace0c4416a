/** What the agent's tables are put together from. Pure. */

/** The first guard that has something to say wins, else the step. */
export function guarded<View, Step>(guards: readonly ((view: View) => Step | undefined)[], step: (view: View) => Step): (view: View) => Step {
  return (view) => {
    for (const guard of guards) {
      const found = guard(view);
      if (found !== undefined) return found;
    }
    return step(view);
  };
}
