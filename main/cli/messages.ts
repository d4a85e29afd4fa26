/** Messages for people go to stderr, one line each: stdout is the guest's console, or what a command was asked for. */
export function say(line: string): void {
  process.stderr.write(`ringside: ${line}\n`);
}
