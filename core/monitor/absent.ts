/** Commands that QEMU 7.2 has and Ringside has not, of both monitors, and why: whoever tries one is told. */

const REASONS: readonly (readonly [why: string, ...names: string[]])[] = [
  ['guests have no display', 'screendump', 'vnc', 'spice', 'query-spice', 'query-vnc-servers', 'display-reload'],
  ['guests have no display', 'change-vnc-password', 'set_password', 'expire_password', 'client_migrate_info'],
  ['there is no audio', 'wavcapture', 'stopcapture', 'capture'],
  ['there are no snapshots', 'savevm', 'loadvm', 'delvm', 'snapshots', 'snapshot-save', 'snapshot-load'],
  ['there are no snapshots', 'snapshot-delete', 'snapshot_blkdev', 'snapshot_blkdev_internal', 'blockdev-snapshot'],
  ['there are no snapshots', 'blockdev-snapshot-sync', 'blockdev-snapshot-internal-sync'],
  [
    'there is no migration',
    'migrate',
    'migrate_cancel',
    'migrate-incoming',
    'migrate_incoming',
    'migrate-set-parameters',
  ],
  ['there is no migration', 'migrate_set_parameter', 'migrate-set-capabilities', 'migrate_set_capability'],
  [
    'there is no migration',
    'query-migrate-parameters',
    'migrate_parameters',
    'migrate_capabilities',
    'calc_dirty_rate',
  ],
  ['there is no GDB server', 'gdbserver'],
  ['pmemsave writes guest memory to a file', 'dump-guest-memory', 'query-dump', 'dump'],
  ['disks are files without jobs', 'block_resize', 'block_stream', 'block-stream', 'drive_mirror', 'drive-mirror'],
  ['disks are files without jobs', 'blockdev-mirror', 'drive_backup', 'drive-backup', 'blockdev-backup', 'commit'],
  [
    'disks are files without jobs',
    'block-commit',
    'block-job-cancel',
    'block_job_cancel',
    'blockdev-reopen',
    'block-jobs',
  ],
  ['disks have no limits', 'block_set_io_throttle'],
  ['there are no removable media', 'eject', 'change', 'blockdev-change-medium', 'blockdev-open-tray'],
  [
    'disks are not exported',
    'nbd_server_start',
    'nbd-server-start',
    'nbd_server_add',
    'nbd_server_stop',
    'block-export-add',
  ],
  ['file descriptors are not passed', 'add-fd', 'getfd', 'closefd', 'remove-fd'],
  ['the board has no such device', 'usb', 'usbhost', 'tpm', 'rocker', 'watchdog_action', 'watchdog-set-action', 'nmi'],
  ['the board has no such device', 'inject-nmi', 'vm-generation-id', 'system_wakeup'],
  ['RISC-V has no I/O instructions: xp reads memory', 'i', 'o'],
  ['-d and -D say it when the machine is started', 'log', 'logfile'],
];

const WHY = new Map(REASONS.flatMap(([why, ...names]) => names.map((name) => [name, why] as const)));

/** Why there is no such command, one clause; null when QEMU has none of the name either, or there is no reason to tell. */
export function whyAbsent(name: string): string | null {
  return WHY.get(name) ?? null;
}
