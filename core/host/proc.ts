/** What Linux's /proc and /sys say about files, parsed. */

/** Major and minor number of a device number as stat(2) gives it (the C library's makedev). */
export function deviceNumbers(device: bigint): { major: number; minor: number } {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return { major: Number(major), minor: Number(minor) };
}

/**
 * The byte ranges of /proc/locks held (not waited for) on a file. A line is
 * `7: OFDLCK ADVISORY  READ -1 fe:00:260072 100 101`: id, type, two words, pid, device (hex) and inode, first and last
 * byte.
 */
export function parseLocks(text: string, file: { device: bigint; inode: bigint }): { start: number; end: number }[] {
  const { major, minor } = deviceNumbers(file.device);
  const found = [];
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    // A waiting lock has "->" behind its id, which puts it out of step.
    if (words.length !== 8) continue;
    const [deviceMajor, deviceMinor, inode] = words[5].split(':');
    if (parseInt(deviceMajor, 16) !== major || parseInt(deviceMinor, 16) !== minor) continue;
    if (inode !== String(file.inode)) continue;
    found.push({ start: Number(words[6]), end: words[7] === 'EOF' ? Infinity : Number(words[7]) });
  }
  return found;
}
