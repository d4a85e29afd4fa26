/**
 * What runs inside the `debian` guest before its shell: our own text, kept as strings so that it is part of the program
 * however that is packed.
 */

/**
 * Sets the system up, then hands over to busybox init, which respawns shells and ends the machine in good order.
 */
export const INIT_SCRIPT = `#!/bin/sh
# /init: sets the system up from what is attached to the machine, then becomes busybox init.

say() { printf '%s\\n' "$*"; }

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=xterm

# busybox finds itself, and so its other commands, through /proc. What else is mounted is in /etc/fstab.
busybox mount -t proc -o nosuid,nodev,noexec proc /proc
mount /dev
mkdir -p /dev/pts /dev/shm
mount -a
ln -s /proc/self/fd /dev/fd
busybox --install -s 2>/dev/null
cd /root
hostname ringside

# The kernel's words down to warnings from here on, so that they do not run through the shell's.
grep -qwE 'debug|ignore_loglevel' /proc/cmdline || dmesg -n 5

# Drivers: for the virtio-mmio bus, then for every device that shows up, and for what those bring.
modprobe -q virtio_mmio
# An empty list would match everything for busybox grep.
echo none >/run/aliases
while :; do
  cat /sys/bus/*/devices/*/modalias /sys/class/input/*/modalias 2>/dev/null | sort -u >/run/aliases.now
  grep -vxFf /run/aliases /run/aliases.now >/run/aliases.new || break
  xargs modprobe -abq </run/aliases.new 2>/dev/null
  mv /run/aliases.now /run/aliases
done

# With console=hvc0 there was no console before, and its driver may still be at it.
tries=0
while ! (: >/dev/console) 2>/dev/null && [ $tries -lt 30 ]; do
  tries=$((tries + 1))
  usleep 100000
done
if (: >/dev/console) 2>/dev/null; then exec </dev/console >/dev/console 2>&1; fi

ip link set lo up
/etc/port-names

# mount_disk NAME: by file system type; read-only where the disk is, or where it cannot be written safely.
mount_disk() {
  type=$(blkid -p -o value -s TYPE "/dev/$1" 2>/dev/null)
  case $type in
    '' | swap | crypto_LUKS | *_member) return ;;
  esac
  mode=rw
  [ "$(cat "/sys/class/block/$1/ro")" = 1 ] && mode=ro
  mkdir -p "/mnt/$1"
  if mount -t "$type" -o "$mode" "/dev/$1" "/mnt/$1" 2>/dev/null; then
    :
  elif mode=ro && mount -t "$type" -o ro "/dev/$1" "/mnt/$1" 2>/dev/null; then
    :
  elif [ "$type" = ext4 ] && mount -t ext4 -o ro,noload "/dev/$1" "/mnt/$1" 2>/dev/null; then
    :
  else
    rmdir "/mnt/$1"
    say "/dev/$1: the $type file system cannot be mounted"
    return
  fi
  say "/dev/$1: $type, mounted on /mnt/$1 ($mode)"
}

say
say "Debian kernel $(uname -r) with busybox. Commands: poweroff, reboot, mkfs.ext4, modprobe, lsmod."
for block in /sys/class/block/vd* /sys/class/block/sd* /sys/class/block/pmem*; do
  [ -e "$block" ] && mount_disk "$(basename "$block")"
done

# ringside.exec=COMMAND, ringside.exec="A COMMAND" or ringside.exec=base64:COMMAND (base64url): run it and power off.
command=$(sed -n -e 's/.*ringside\\.exec="\\([^"]*\\)".*/\\1/p;t' -e 's/.*ringside\\.exec=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
case $command in
  base64:*)
    text=$(printf %s "\${command#base64:}" | tr _- /+)
    while [ $((\${#text} % 4)) -ne 0 ]; do text=$text=; done
    command=$(printf %s "$text" | base64 -d)
    ;;
esac

for net in /sys/class/net/eth*; do
  [ -e "$net" ] || continue
  device=$(basename "$net")
  ip link set "$device" up
  if [ -n "$command" ]; then
    udhcpc -i "$device" -t 3 -T 1 -n >/dev/null 2>&1
  else
    udhcpc -i "$device" -t 5 -T 2 -b >/dev/null 2>&1 &
  fi
done

if [ -n "$command" ]; then
  sh -c "$command"
  say "ringside.exec: status $?"
  cd /
  sync
  umount -a -r 2>/dev/null
  poweroff -f
fi

# A shell on each console= of the command line; where there is none, on what the kernel chose.
consoles=
for word in $(cat /proc/cmdline); do
  case $word in
    console=*)
      tty=\${word#console=}
      consoles="$consoles \${tty%%,*}"
      ;;
  esac
done
[ -n "$consoles" ] || consoles=$(cat /sys/class/tty/console/active)
{
  shells=
  for tty in $consoles; do
    [ "$tty" = tty0 ] && tty=tty1
    [ -c "/dev/$tty" ] || continue
    case " $shells " in *" $tty "*) continue ;; esac
    shells="$shells $tty"
    echo "$tty::respawn:-/bin/sh"
  done
  [ -n "$shells" ] || echo 'console::respawn:-/bin/sh'
  # Drivers for what is plugged in later.
  echo '::respawn:/sbin/uevent /etc/hotplug'
  echo '::ctrlaltdel:/sbin/reboot'
  echo '::shutdown:/etc/shutdown'
} >/etc/inittab
say
exec /sbin/init
`;

/** Run by busybox init before it ends the machine: leaves the disks clean even when something works on them. */
const SHUTDOWN_SCRIPT = `#!/bin/sh
cd /
kill -TERM -1
usleep 300000
kill -KILL -1
sync
umount -a -r 2>/dev/null
`;

/** Run by busybox uevent for each event of the kernel's device model. */
const HOTPLUG_SCRIPT = `#!/bin/sh
[ "$SUBSYSTEM" = virtio-ports ] && exec /etc/port-names
[ "$ACTION" = add ] && [ -n "$MODALIAS" ] && exec modprobe -bq "$MODALIAS"
`;

/** The names of virtio-serial ports, where udev puts them. */
const PORT_NAMES_SCRIPT = `#!/bin/sh
rm -f /dev/virtio-ports/*
for port in /sys/class/virtio-ports/*; do
  name=$(cat "$port/name" 2>/dev/null)
  [ -n "$name" ] || continue
  mkdir -p /dev/virtio-ports
  ln -sfn "../$(basename "$port")" "/dev/virtio-ports/$name"
done
`;

const FSTAB = `sysfs /sys sysfs nosuid,nodev,noexec 0 0
devtmpfs /dev devtmpfs nosuid,mode=0755 0 0
devpts /dev/pts devpts nosuid,noexec,gid=5,mode=0620 0 0
tmpfs /dev/shm tmpfs nosuid,nodev 0 0
tmpfs /run tmpfs nosuid,nodev,mode=0755 0 0
tmpfs /tmp tmpfs nosuid,nodev 0 0
`;

/** What mount tries, in this order, when it is not told a type; the kernel loads the modules. */
const FILESYSTEMS = ['ext4', 'vfat', 'squashfs', 'xfs', 'btrfs', 'iso9660', 'erofs', 'exfat', 'f2fs', 'udf'];

/** udhcpc calls it with what the DHCP server answered. */
const UDHCPC_SCRIPT = `#!/bin/sh
case $1 in
  deconfig)
    ip addr flush dev "$interface"
    ip link set "$interface" up
    ;;
  bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/\${mask:-24}" dev "$interface"
    for gateway in $router; do
      ip route add default via "$gateway" dev "$interface" 2>/dev/null
    done
    : >/etc/resolv.conf
    [ -z "$domain" ] || echo "search $domain" >>/etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
    ;;
esac
`;

export interface TextFile {
  readonly name: string;
  readonly text: string;
  readonly mode: number;
}

/** The files that are ours, relative to the guest's root. Their folders are the base archive's. */
export const INIT_FILES: readonly TextFile[] = [
  { name: 'init', text: INIT_SCRIPT, mode: 0o755 },
  { name: 'etc/shutdown', text: SHUTDOWN_SCRIPT, mode: 0o755 },
  { name: 'etc/udhcpc/default.script', text: UDHCPC_SCRIPT, mode: 0o755 },
  { name: 'etc/hotplug', text: HOTPLUG_SCRIPT, mode: 0o755 },
  { name: 'etc/port-names', text: PORT_NAMES_SCRIPT, mode: 0o755 },
  { name: 'etc/filesystems', text: `${FILESYSTEMS.join('\n')}\n`, mode: 0o644 },
  { name: 'etc/fstab', text: FSTAB, mode: 0o644 },
  { name: 'etc/passwd', text: 'root:x:0:0:root:/root:/bin/sh\n', mode: 0o644 },
  { name: 'etc/group', text: 'root:x:0:\ntty:x:5:\ndisk:x:6:\n', mode: 0o644 },
  { name: 'etc/hosts', text: '127.0.0.1 localhost\n127.0.1.1 ringside\n::1 localhost\n', mode: 0o644 },
  { name: 'etc/profile', text: "export HOME=/root PS1='\\u@\\h:\\w\\$ '\nalias ll='ls -l'\ncd\n", mode: 0o644 },
];
