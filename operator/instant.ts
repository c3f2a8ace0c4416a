/** RFC 3339 with seconds, as metav1.Time; rounded down. `now` is in milliseconds since 1970. */
export function instant(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19)}Z`;
}
