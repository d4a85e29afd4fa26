/** VMs as people have them: from READMEs, course notes and `virsh dumpxml`. */
import type { VmSettings, VmSettingsInput } from '../../../main/ipc/contract.ts';
import { settings } from '../doubles/app.ts';

export const DEBIAN_COMMAND = `
qemu-system-riscv64 -machine virt -m 4G -smp 4 -cpu rv64 \\
  -device virtio-blk-device,drive=hd -drive file=/images/overlay.raw,format=raw,if=none,id=hd \\
  -device virtio-net-device,netdev=net -netdev user,id=net,hostfwd=tcp::2222-:22 \\
  -object rng-random,filename=/dev/urandom,id=rng -device virtio-rng-device,rng=rng \\
  -bios /usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf \\
  -kernel /usr/lib/u-boot/qemu-riscv64_smode/uboot.elf \\
  -append "root=LABEL=rootfs console=ttyS0" -nographic
`;

export const XV6_COMMAND =
  'qemu-system-riscv64 -machine virt -bios none -kernel kernel/kernel -m 128M -smp 3 -nographic ' +
  '-global virtio-mmio.force-legacy=false -drive file=fs.img,if=none,format=raw,id=x0 ' +
  '-device virtio-blk-device,drive=x0,bus=virtio-mmio-bus.0';

export const UBUNTU_COMMAND = `/usr/bin/qemu-system-riscv64 \\
    -cpu rva23s64 -machine virt,acpi=off -m 2048 -smp cpus=2,sockets=1 -nographic \\
    -netdev tap,id=net0,ifname=tap0,script=no -device virtio-net-pci,netdev=net0,mac=52:54:00:11:22:33,romfile= \\
    -drive file='/images/my disk,, old.img',format=raw,if=virtio,cache=none,aio=native,discard=unmap \\
    -drive file=/images/seed.vmdk,format=vmdk,if=virtio -device virtio-gpu-pci -device qemu-xhci -enable-kvm \\
    -chardev socket,path=/run/agent.sock,server=on,wait=off,id=qga0 -device virtio-serial-pci,id=ser0 \\
    -device virtserialport,bus=ser0.0,chardev=qga0,name=org.qemu.guest_agent.0 -kernel /boot/vmlinuz -append 'root=/dev/vda1 ro'`;

export const FEDORA_DOMAIN = `<?xml version="1.0" encoding="UTF-8"?>
<domain type='qemu' id='3'>
  <name>fedora-riscv</name>
  <uuid>7e9a3ad8-0e8e-4f4b-8f2c-63a0a4e01a57</uuid>
  <memory unit='GiB'>2</memory>
  <vcpu placement='static'>4</vcpu>
  <iothreads>1</iothreads>
  <os>
    <type arch='riscv64' machine='virt'>hvm</type>
    <kernel>/var/lib/libvirt/images/fw_payload &amp; more.elf</kernel>
    <cmdline>console=ttyS0 ro root=/dev/vda4</cmdline>
    <boot dev='hd'/>
  </os>
  <on_reboot>restart</on_reboot>
  <devices>
    <emulator>/usr/bin/qemu-system-riscv64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' discard='unmap' error_policy='enospace' iothread='1' queues='2'/>
      <source file='/var/lib/libvirt/images/fedora.raw'/>
      <target dev='vda' bus='virtio'/>
      <serial>FEDORA1</serial>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='vmdk'/>
      <source file='/var/lib/libvirt/images/data.vmdk'/>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <target dev='sda' bus='scsi'/>
      <readonly/>
    </disk>
    <interface type='network'>
      <mac address='52:54:00:aa:bb:cc'/>
      <source network='default'/>
      <model type='virtio'/>
    </interface>
    <interface type='mcast'>
      <source address='230.0.0.1' port='5558'/>
      <model type='virtio'/>
      <address type='virtio-mmio'/>
    </interface>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <console type='pty'><target type='virtio' port='1'/></console>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <input type='tablet' bus='virtio'/>
    <input type='keyboard' bus='usb'/>
    <filesystem type='mount' accessmode='mapped'>
      <source dir='/srv/share'/>
      <target dir='share'/>
    </filesystem>
    <memballoon model='virtio'/>
    <graphics type='vnc' port='-1'/>
    <tpm model='tpm-tis'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>`;

/** A VM with one of everything that exporters have words for, in folders that need not be there. */
export function everything(change: Partial<VmSettingsInput> = {}): VmSettings {
  return settings({
    name: 'Lab, “it’s” all <here> & more',
    memory: 512 * 2 ** 20,
    harts: 4,
    aia: 'aplic-imsic',
    boot: { source: 'files', kernel: '/images/Image', initrd: '/images/initrd', append: `console=ttyS0 quiet='yes'` },
    drives: [
      { id: 'drive0', file: '/images/a, b.raw', serial: 'SERIAL & 1', werror: 'stop' },
      { id: 'root', if: 'none', file: '/images/root.raw', readonly: true },
    ],
    objects: [
      { type: 'iothread', id: 'io0' },
      { type: 'rng-builtin', id: 'entropy' },
    ],
    chardevs: [{ type: 'program', id: 'agent' }],
    netdevs: [
      { type: 'socket', id: 'net0', mcast: '230.0.0.1:5558' },
      { type: 'hubport', id: 'net1', hubid: 1 },
    ],
    fsdevs: [{ type: 'local', id: 'share', path: '/tmp', security_model: 'none' }],
    devices: [
      { driver: 'virtio-blk-pci', id: 'disk1', drive: 'root', iothread: 'io0', 'num-queues': 2 },
      { driver: 'virtio-net-pci', id: 'nic0', netdev: 'net0', mac: '52:54:00:01:02:03' },
      { driver: 'virtio-net-device', id: 'nic1', netdev: 'net1' },
      { driver: 'virtio-rng-pci', rng: 'entropy', 'max-bytes': 1024, period: 1000 },
      { driver: 'virtio-balloon-pci', id: 'balloon0' },
      { driver: 'virtio-tablet-pci', id: 'tablet0' },
      { driver: 'virtio-9p-pci', fsdev: 'share', mount_tag: 'share' },
      { driver: 'virtio-serial-pci', id: 'ports' },
      { driver: 'virtserialport', bus: 'ports.0', chardev: 'agent', name: 'org.qemu.guest_agent.0' },
    ],
    noReboot: true,
    ...change,
  });
}
