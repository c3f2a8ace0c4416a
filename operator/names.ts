/** Names and statements in a message: three, since more would not fit. */

/** At most three names and how many more. */
export function nameSome(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ');
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}

/** At most three statements and how many more. */
export function saySome(statements: readonly string[]): string {
  const shown = statements.slice(0, 3).join('; ');
  return statements.length > 3 ? `${shown}; and ${statements.length - 3} more` : shown;
}
