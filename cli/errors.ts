/** What the user of the command can correct; the message says how. */
export class CliError extends Error {
  override readonly name = 'CliError';
}
