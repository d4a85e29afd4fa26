import { describe, expect, test } from 'vitest';
import { completeConfig, parseRunArguments, runHelp, typeHelpText } from '../../main/cli/qemu-options.ts';
import type { RunRequest } from '../../main/cli/qemu-options.ts';

/** Splits a command line at blanks; no quoting is needed here. */
const words = (line: string) => line.split(' ').filter(Boolean);
const parse = (line: string): RunRequest => {
  const request = parseRunArguments(words(line));
  if (request === null) throw new Error('help was asked for');
  return request;
};
const config = (line: string) => completeConfig(parse(line));

/** The message of the RingsideError that a command line gives. */
function refusal(args: readonly string[]): string {
  try {
    const request = parseRunArguments(args);
    if (request) completeConfig(request);
  } catch (error) {
    expect(error).toMatchObject({ name: 'RingsideError', kind: 'bad-option' });
    return (error as Error).message;
  }
  throw new Error(`accepted: ${args.join(' ')}`);
}

describe('spellings', () => {
  test('the command line of README.md', () => {
    const args = ['-m', '1G', '-smp', '1', '-kernel', 'K', '-initrd', 'I', '-append', 'a b', '-drive'];
    const request = parseRunArguments([...args, 'file=disk.raw,format=raw,if=virtio'])!;
    expect(completeConfig(request)).toEqual({
      memory: 2 ** 30,
      harts: 1,
      aia: 'none',
      bios: 'default',
      accel: 'jit',
      jitCache: null,
      kernel: 'K',
      initrd: 'I',
      append: 'a b',
      drives: [
        {
          id: 'drive0',
          file: 'disk.raw',
          format: 'raw',
          backing: 'refuse',
          locking: 'auto',
          readonly: false,
          werror: 'enospc',
          rerror: 'report',
          discard: 'unmap',
          legacy: false,
        },
      ],
      console: true,
      rng: true,
      forceLegacy: false,
      devices: [],
      objects: [],
      chardevs: [],
      netdevs: [],
      fsdevs: [],
      globals: [],
    });
    expect(request).toMatchObject({ startPaused: false, unnamedFormats: [] });
  });

  test('dumps of the translator', () => {
    expect(parse('-bios fw').log).toBeUndefined();
    expect(parse('-bios fw -d in_asm,out_wasm').log).toEqual({ items: ['in_asm', 'out_wasm'], file: null });
    expect(parse('-bios fw -d in_asm -D log -d jit').log).toEqual({ items: ['in_asm', 'jit'], file: 'log' });
    expect(parseRunArguments(words('-d help'))).toBeNull();
  });

  test("xv6's command line", () => {
    const made = config(
      '-machine virt -bios none -kernel kernel/kernel -m 128M -smp 3 -nographic -global virtio-mmio.force-legacy=false ' +
        '-drive file=fs.img,if=none,format=raw,id=x0 -device virtio-blk-device,drive=x0,bus=virtio-mmio-bus.0',
    );
    expect(made).toMatchObject({ bios: 'none', harts: 3, memory: 128 * 2 ** 20, forceLegacy: false });
    expect(made.drives).toMatchObject([{ id: 'x0', file: 'fs.img', if: 'none' }]);
    expect(made.devices).toEqual([{ driver: 'virtio-blk-device', drive: 'x0', bus: 'virtio-mmio-bus.0' }]);
  });

  test.each([
    ['512', 512],
    ['512M', 512],
    ['512m', 512],
    ['1G', 1024],
    ['1.5G', 1536],
    ['size=1G', 1024],
    ['524288K', 512],
    ['536870912b', 512],
  ])('-m %s is %i MiB', (value, mib) => {
    expect(config(`-kernel K -m ${value}`).memory).toBe(mib * 2 ** 20);
  });

  test.each([
    ['-smp 4', { harts: 4 }],
    ['-smp cpus=4', { harts: 4 }],
    ['--smp 4', { harts: 4 }],
    ['-M virt', {}],
    ['-machine type=virt', {}],
    ['-M virt,aia=aplic-imsic,aia-guests=0', { aia: 'aplic-imsic' }],
    ['-machine aia=aplic', { aia: 'aplic' }],
    ['-accel interp', { accel: 'interp' }],
    ['--accel jit', { accel: 'jit' }],
    ['-accel jit,cache=off', { accel: 'jit', jitCache: null }],
    ['-accel cache=/c', { accel: 'jit', jitCache: '/c' }],
    ['--jit-cache /c', { jitCache: '/c' }],
    ['--jit-cache off', { jitCache: null }],
    ['-bios default', { bios: 'default' }],
    ['-bios fw.bin', { bios: 'fw.bin' }],
    ['-no-reboot', { noReboot: true }],
    ['-global virtio-mmio.force-legacy=true', { forceLegacy: true }],
    ['-global virtio-mmio.force-legacy=on', { forceLegacy: true }],
    ['-global driver=virtio-mmio,property=force-legacy,value=off', { forceLegacy: false }],
    ['-nodefaults', { console: false, rng: false }],
    ['-device virtio-rng-device', { rng: false, console: true, devices: [{ driver: 'virtio-rng-device' }] }],
    ['-device virtio-rng', { rng: false, devices: [{ driver: 'virtio-rng-pci' }] }],
    [
      '-device virtio-serial-device,id=s -device virtconsole',
      { console: false, rng: true, devices: [{ driver: 'virtio-serial-device', id: 's' }, { driver: 'virtconsole' }] },
    ],
    ['-object iothread,id=io0', { objects: [{ type: 'iothread', id: 'io0' }] }],
    ['-object {"qom-type":"iothread","id":"io0"}', { objects: [{ type: 'iothread', id: 'io0' }] }],
    [
      '-device {"driver":"virtio-rng-device","id":"r","max-bytes":1024,"period":1000}',
      { devices: [{ driver: 'virtio-rng-device', id: 'r', 'max-bytes': 1024, period: 1000 }] },
    ],
    [
      '-drive file=a,if=none,id=x -device {"driver":"virtio-blk-device","drive":"x","num-queues":2,' +
        '"iothread-vq-mapping":[{"iothread":"a","vqs":[1]},{"iothread":"b","vqs":[0]}]}',
      {
        devices: [
          {
            driver: 'virtio-blk-device',
            drive: 'x',
            'num-queues': 2,
            'iothread-vq-mapping': [
              { iothread: 'a', vqs: [1] },
              { iothread: 'b', vqs: [0] },
            ],
          },
        ],
      },
    ],
    ['-object qom-type=iothread,id=io0', { objects: [{ type: 'iothread', id: 'io0' }] }],
    [
      '-global virtio-blk-pci.num-queues=2',
      { globals: [{ driver: 'virtio-blk-pci', property: 'num-queues', value: '2' }] },
    ],
    [
      '-device driver=virtio-rng-device,packed,max-bytes=1024,event_idx=off',
      { devices: [{ driver: 'virtio-rng-device', packed: 'on', 'max-bytes': '1024', event_idx: 'off' }] },
    ],
    ['-display none -monitor none -name a -S', {}],
    ['-kernel other', { kernel: 'other' }],
  ])('%s', (line, expected) => {
    expect(config(`-kernel K ${line}`)).toMatchObject(expected);
  });

  test.each([
    ['readonly=on', { readonly: true }],
    ['readonly', { readonly: true }],
    ['readonly=off', { readonly: false }],
    ['serial=ABC', { serial: 'ABC' }],
    ['werror=stop,rerror=stop', { werror: 'stop', rerror: 'stop' }],
    ['discard=unmap', { discard: 'unmap' }],
    ['discard=on', { discard: 'unmap' }],
    ['discard=ignore', { discard: 'ignore' }],
    ['discard=off', { discard: 'ignore' }],
    ['cache=none', {}],
    ['cache=writeback,media=disk', {}],
    ['id=root', { id: 'root' }],
  ])('-drive file=F,%s', (keys, expected) => {
    expect(config(`-kernel K -drive file=F,${keys}`).drives).toMatchObject([{ file: 'F', ...expected }]);
  });

  test('a doubled comma is a comma', () => {
    expect(config('-kernel K -drive file=a,,b,,,,c,format=raw').drives[0].file).toBe('a,b,,c');
    expect(config('-kernel K -drive file=,,x').drives[0].file).toBe(',x');
    expect(config('-kernel K -drive file=a=b').drives[0].file).toBe('a=b');
  });

  test('drives of -device options come first, then those with if=virtio, each with a name of its own', () => {
    const { drives, devices } = config(
      '-kernel K -drive file=a -drive file=b,if=none,id=drive0 -drive file=c,if=virtio -device virtio-blk-device,drive=drive0,serial=S',
    );
    expect(drives.map(({ id, file, if: how }) => [id, file, how])).toEqual([
      ['drive0', 'b', 'none'],
      ['drive1', 'a', undefined],
      ['drive2', 'c', undefined],
    ]);
    expect(devices).toEqual([{ driver: 'virtio-blk-device', drive: 'drive0', serial: 'S' }]);
  });

  test("a device's serial and error policies stand beside the drive's", () => {
    const { drives, devices } = config(
      '-kernel K -drive file=a,if=none,id=d,serial=one,werror=stop -device virtio-blk-device,drive=d,id=disk,serial=two,werror=report',
    );
    expect(drives).toMatchObject([{ id: 'd', serial: 'one', werror: 'stop' }]);
    expect(devices).toMatchObject([{ id: 'disk', drive: 'd', serial: 'two', werror: 'report' }]);
  });

  test('drives whose format is not said are named, to be looked at', () => {
    expect(parse('-kernel K -drive file=a -drive file=b,format=raw').unnamedFormats).toEqual(['a']);
  });
});

describe('a guest of the catalogue', () => {
  const guest = { kernel: '/g/vmlinux', initrd: '/g/initrd', append: 'console=ttyS0' };

  test('brings kernel, initrd and command line; -append is added', () => {
    const made = completeConfig(parse('--guest debian -append quiet'), guest);
    expect(made).toMatchObject({
      kernel: '/g/vmlinux',
      initrd: '/g/initrd',
      append: 'console=ttyS0 quiet',
      memory: 2 ** 30,
    });
  });

  test('goes with -m, -bios and --mirror', () => {
    const request = parse('--guest debian -m 256 -bios fw --mirror http://localhost/debian');
    expect(request).toMatchObject({ guest: 'debian', mirror: 'http://localhost/debian' });
    expect(completeConfig(request, guest)).toMatchObject({ memory: 256 * 2 ** 20, bios: 'fw' });
  });
});

describe('the console', () => {
  test.each([
    ['', { port: 'serial0', escapes: 'on-a-terminal' }],
    ['-nographic', { port: 'serial0', escapes: 'always' }],
    ['-serial mon:stdio', { port: 'serial0', escapes: 'always' }],
    ['-serial stdio', { port: 'serial0', escapes: 'never' }],
    ['-nographic -serial null', { port: null, escapes: 'never' }],
    ['-serial none', { port: null, escapes: 'never' }],
    ['-chardev stdio,id=c,mux=on -serial chardev:c', { port: 'serial0', escapes: 'always' }],
    ['-chardev backend=null,id=c -serial chardev:c', { port: null, escapes: 'never' }],
    ['-chardev stdio,id=c -device virtio-serial-device -device virtconsole,chardev=c', { port: 'c', escapes: 'never' }],
    [
      '-serial null -chardev stdio,id=c,mux=on -device virtio-serial-device -device virtconsole,chardev=c',
      { port: 'c', escapes: 'always' },
    ],
  ])('"%s" connects it', (line, expected) => {
    expect(parse(`-kernel K ${line}`).terminal).toEqual(expected);
  });
});

describe('help', () => {
  test.each(['-help', '--help', '-h', '-kernel K -help', '-device help', '-drive help', '-device ?'])('%s', (line) => {
    expect(parseRunArguments(words(line))).toBeNull();
  });

  test.each([
    ['-device help', /\n\nStorage devices:\nname "virtio-9p-device", bus virtio-bus, desc "/],
    ['-device help', /^name "virtio-blk-pci", bus PCI, alias "virtio-blk", desc "a disk"$/m],
    ['-kernel K -device ?', /^Input devices:$/m],
    ['-device virtio-blk-pci,help', /^virtio-blk-pci options:\n {2}addr=<int32> {11}- slot and/],
    [
      '-device virtio-blk,help',
      /^ {2}num-queues=<uint16> {4}- request queues, at most 16; 65535: on PCI one for each hart, else 1 \(default: 65535\)$/m,
    ],
    ['-device virtio-blk-pci,help', /^ {2}virtio-backend=<child<virtio-blk-device>>$/m],
    ['-device virtio-blk-pci,help', /^ {2}iothread=<link<iothread>> - the I\/O worker that serves its queues$/m],
    ['-device virtio-blk-pci,disable-legacy=on,help', /^ {2}disable-legacy=<OnOffAuto> - .* \(default: "auto"\)$/m],
    ['-object help', /^List of user creatable objects:\n(.*\n)* {2}iothread$/m],
    ['-object iothread,help', /^iothread options:\n {2}aio-max-batch=<uint32>(.*\n)* {2}poll-max-ns=<uint32> /m],
  ])('%s is made from the types', (line, expected) => {
    expect(parseRunArguments(words(line))).toBeNull();
    expect(typeHelpText(words(line))).toMatch(expected);
  });

  test('a misspelt type has no help', () => {
    expect(() => parseRunArguments(words('-device virtio-blok,help'))).toThrow(/did you mean/);
  });

  test('a value that looks like it is a value', () => {
    expect(config('-kernel -help').kernel).toBe('-help');
  });

  test('lists every option and key, at most 100 columns wide', () => {
    const text = runHelp();
    for (const word of ['-kernel FILE', '-m [size=]SIZE', '--guest NAME', 'werror=', '-object TYPE', '-no-reboot']) {
      expect(text).toContain(word);
    }
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});

describe('refusals: one line that names the option and says what is allowed', () => {
  test.each([
    ['', '-kernel: nothing to boot'],
    ['-bios none', '-kernel: nothing to boot'],
    ['-kernel', '-kernel: it needs a value: -kernel FILE'],
    ['-kernel K -frive x', '-frive: unknown option (did you mean -drive?)'],
    ['-kernel K -Smp 2', '-Smp: unknown option (did you mean -smp?)'],
    ['-kernel K -blockdev x', '-blockdev: unknown option; "ringside run -help" lists them'],
    ['-kernel K -netdev nope,id=n', '-netdev: unknown netdev "nope"; "help" lists those that there are'],
    ['-kernel K -object iothreat,id=a', '-object: unknown object "iothreat" (did you mean iothread?)'],
    ['-kernel K -object iothread', '-object iothread: it needs a name: id=ID'],
    ['-kernel K -object iothread,id=a -object iothread,id=a', '-object: id=a is given twice'],
    ['-kernel K -object drive,id=a', '-object: unknown object "drive"'],
    ['-kernel K -m=512', '-m=512: the value follows after a space: -m 512'],
    ['disk.img', '"disk.img": options begin with "-"; an image is given as -drive file=FILE,format=raw'],
    ['-', '"-": options begin with "-"'],
    ['-kernel K -m lots', '-m: size: "lots" is not a size'],
    ['-kernel K -m -1', '-m: size: "-1" is not a size'],
    ['-kernel K -m 1e3', '-m: size: "1e3" is not a size'],
    ['-kernel K -m 0.3b', '-m: size: "0.3b" is not a size'],
    ['-kernel K -m 8', '-m: 8 MiB is too little: at least 16M'],
    ['-kernel K -m 8G', '-m: 8192 MiB is too much: at most 3776M'],
    ['-kernel K -m 999999999999999T', '-m: size: "999999999999999T" is not a size'],
    ['-kernel K -m 33554433b', '-m: 33554433 bytes is not a whole number of MiB'],
    ['-kernel K -m 1G,slots=2', '-m: unknown "slots"; allowed: size'],
    ['-kernel K -accel interp,cache=/c', '-accel: a cache is for jit: leave out cache= and --jit-cache'],
    ['-kernel K -accel jit,cache=', '-accel: cache: needs a value: off|DIR'],
    ['-kernel K -accel tcg', '-accel: accel: "tcg" is not allowed: jit, interp'],
    ['-kernel K -smp 0', '-smp: cpus: "0" is not a number from 1 to 8'],
    ['-kernel K -smp 9', '-smp: cpus: "9" is not a number from 1 to 8'],
    ['-kernel K -smp two', '-smp: cpus: "two" is not a number from 1 to 8'],
    ['-kernel K -smp cpus=1,cpus=2', '-smp: cpus is given twice'],
    ['-kernel K -machine sifive_u', '-machine: type: "sifive_u" is not allowed: virt'],
    ['-kernel K -M virt,aia=imsic', '-machine: aia: "imsic" is not allowed: none, aplic, aplic-imsic'],
    ['-kernel K -M virt,aia-guests=1', '-machine: aia-guests: "1" is not a number from 0 to 0'],
    ['-kernel K -display sdl', '-display: "sdl" is not allowed: none'],
    [
      '-kernel K -monitor gtk',
      '-monitor: "gtk" is not allowed: none, null, stdio, pty, file:PATH, pipe:PATH, unix:PATH',
    ],
    ['-kernel K -qmp tcp:4444,server', '-qmp: "tcp:4444,server" is not allowed'],
    ['-kernel K -serial udp:4444', '-serial: "udp:4444" is not allowed'],
    ['-kernel K -serial mon:pty', '-serial: "mon:pty" is not allowed'],
    ['-kernel K -qmp unix:/s,server,to=3', '-qmp: unknown "to"'],
    ['-kernel K -monitor stdio -serial stdio', 'the monitor and -serial stdio cannot share the terminal'],
    ['-kernel K -monitor stdio -qmp stdio', 'the monitor and QMP cannot share the terminal'],
    ['-kernel K -mon nope', '-mon: there is no -chardev with id=nope'],
    ['-kernel K -mon mode=control', '-mon: on which -chardev? Give chardev=ID'],
    ['-kernel K -serial chardev:x', '-serial: there is no -chardev with id=x'],
    ['-kernel K -global virtio-blk.x=1', '-global: virtio-blk: unknown "x"; "virtio-blk-pci,help" lists what there is'],
    ['-kernel K -global virtio-bulk.x=1', '-global: there is no type "virtio-bulk"'],
    [
      '-kernel K -global virtio-mmio.force-legacy=maybe',
      '-global: virtio-mmio: force-legacy: "maybe" is not allowed: on, off',
    ],
    ['-kernel K -global driver=virtio-mmio', '-global: allowed: TYPE.PROPERTY=VALUE'],
    ['-kernel K -drive format=raw', '-drive: which image? Give file=FILE'],
    ['-kernel K -drive disk.img', '-drive: unknown "disk.img"'],
    ['-kernel K -drive file=', '-drive: file: needs a value: FILE'],
    ['-kernel K -drive file', '-drive: file needs a value: file=FILE'],
    ['-kernel K -drive file=a,', '-drive: an empty entry between commas'],
    ['-kernel K -drive file=a,fromat=raw', '-drive: unknown "fromat" (did you mean format?)'],
    ['-kernel K -drive file=a,format=vmdk', '-drive: format: "vmdk" is not allowed: raw, qcow2, auto'],
    ['-kernel K -drive file=a,if=ide', '-drive: if: "ide" is not allowed: virtio, none'],
    ['-kernel K -drive file=a,cache=unsafe', '-drive: cache: "unsafe" is not allowed: writeback, none'],
    ['-kernel K -drive file=a,werror=panic', '-drive: werror: "panic" is not allowed: report, stop, enospc, ignore'],
    ['-kernel K -drive file=a,rerror=enospc', '-drive: rerror: "enospc" is not allowed: report, stop, ignore'],
    ['-kernel K -drive file=a,readonly=maybe', '-drive: readonly: "maybe" is not allowed: on, off'],
    ['-kernel K -drive file=a,id=1x', '-drive: "1x" is not a name'],
    [
      '-kernel K -drive file=a,serial=123456789012345678901',
      '-drive: serial "123456789012345678901" is longer than 20 bytes',
    ],
    ['-kernel K -drive file=a,id=x -drive file=b,id=x', '-drive: id=x is given twice'],
    [
      '-kernel K -drive file=a,if=none',
      '-drive: no device uses a: give it an id, and -device virtio-blk-device,drive=ID',
    ],
    ['-kernel K -drive file=a,if=none,id=x', '-drive: no device uses a: add -device virtio-blk-device,drive=x'],
    ['-kernel K -device virtio-blk-device', '-device virtio-blk-device: which drive? Give drive=ID'],
    [
      '-kernel K -drive file=a,if=none,id=disk0 -device virtio-blk-device,drive=disk1',
      '-device virtio-blk-device: there is no -drive with id=disk1 (did you mean disk0?)',
    ],
    [
      '-kernel K -drive file=a,id=x -device virtio-blk-device,drive=x',
      '-drive: id=x is used by a -device: say if=none as well',
    ],
    [
      '-kernel K -drive file=a,if=none,id=x -device virtio-blk-device,drive=x -device virtio-blk-device,drive=x',
      '-device virtio-blk-device: drive x is in use by another device',
    ],
    [
      '-kernel K -drive file=a,if=none,id=x -device virtio-blk-device,drive=x,bus=virtio-mmio-bus.8',
      '-device virtio-blk-device: bus: "virtio-mmio-bus.8" is not a slot',
    ],
    [
      '-kernel K -drive file=a,if=none,id=x -drive file=b,if=none,id=y ' +
        '-device virtio-blk-device,drive=x,bus=virtio-mmio-bus.1 -device virtio-blk-device,drive=y,bus=virtio-mmio-bus.1',
      '-device virtio-blk-device: bus virtio-mmio-bus.1 is in use already',
    ],
    [
      '-kernel K -drive file=a,if=none,id=x -drive file=b,id=y -device virtio-blk-device,drive=x,id=y',
      '-device virtio-blk-device: id y is in use already',
    ],
    ['-kernel K -device {"driver":1}', '-device: unknown device ""'],
    ['-kernel K -device {', '-device: it begins with {, but is not JSON'],
    ['-kernel K -device {"driver":"virtio-rng-device","id":1}', '-device virtio-rng-device: id needs text'],
    ['-kernel K -device nope', '-device: unknown device "nope"; "help" lists those that there are'],
    ['-kernel K -device virtio-device', '-device: device "virtio-device" cannot be made by itself'],
    [
      '-kernel K -device virtio-rng-device,perod=3',
      '-device virtio-rng-device: unknown "perod" (did you mean period?)',
    ],
    ['-kernel K -device virtio-rng-device,period=0', 'virtio-rng-device: period: "0" is not from 1 to 4294967295'],
    ['-kernel K -device virtio-rng-device,period', '-device virtio-rng-device: period needs a value'],
    ['-kernel K -device virtio-rng-device,period=1,period=2', '-device virtio-rng-device: period is given twice'],
    ['-kernel K -device virtio-rng-device,id=a -device virtio-rng-device,id=a', 'id a is in use already'],
    [
      '-kernel K -device virtio-rmg-device',
      '-device: unknown device "virtio-rmg-device" (did you mean virtio-rng-device?)',
    ],
    ['-kernel K -device virtconsole', '-device virtconsole: it needs -device virtio-serial-device as well'],
    [
      '-kernel K -device virtio-serial-device -device virtconsole,chardev=x',
      '-device virtconsole: there is no -chardev with id=x',
    ],
    [
      '-kernel K -serial stdio -chardev stdio,id=c -device virtio-serial-device -device virtconsole,chardev=c',
      '-chardev: -device virtconsole (chardev c) and -serial stdio cannot share the terminal: one may be null',
    ],
    ['-kernel K -chardev id=x', '-chardev: its type comes first; "-chardev help" lists them'],
    ['-kernel K -chardev stdio', '-chardev: it needs a name: id=ID'],
    ['-kernel K -chardev ptty,id=x', '-chardev: unknown chardev "ptty" (did you mean pty?)'],
    ['-kernel K -chardev pty', '-chardev pty: it needs a name: id=ID'],
    ['-kernel K -chardev file,id=x,paht=/x', '-chardev file: unknown "paht" (did you mean path?)'],
    ['-kernel K -chardev pty,id=x,mux=on', '-chardev: mux=on is for stdio'],
    ['-kernel K -chardev null,id=x -chardev null,id=x', '-chardev: id=x is given twice'],
    [
      `-kernel K ${'-drive file=a '.repeat(7)}`,
      '-drive: 9 virtio devices, but the board has 8 slots; -nodefaults leaves',
    ],
    ['--guest debian -kernel K', '-kernel: --guest brings its own: leave out one of the two'],
    ['--guest debian -initrd I', '-initrd: --guest brings its own: leave out one of the two'],
    ['--guest debian --mirror ftp://x', '--mirror: "ftp://x" is not an http:// or https:// address'],
    ['-kernel K --mirror http://x', '--mirror: it is for --guest NAME'],
    ['-bios fw -append x', '-append: it is for a kernel: give -kernel FILE as well'],
    ['-bios fw -initrd x', '-initrd: it is for a kernel: give -kernel FILE as well'],
    [
      '-bios fw -d in_asm,out_asm',
      '-d: "out_asm" is not allowed (did you mean out_wasm?): in_asm, out_wasm, jit, trace:PATTERN',
    ],
    ['-bios fw -d jit -accel interp', '-d: nothing is translated with -accel interp: leave out one of the two'],
    ['-bios fw -D log', '-D: it is for -d ITEM and -trace'],
  ])('%s', (line, expected) => {
    const message = refusal(words(line));
    expect(message).toContain(expected);
    expect(message).not.toContain('\n');
  });
});

const socket = (id: string, place: Record<string, string>) => ({ type: 'socket', id, ...place });

describe('character devices', () => {
  const machineOf = (line: string) => {
    const { machine } = parseRunArguments(['-kernel', 'K', ...line.split(' ')])!;
    return { chardevs: machine.chardevs, serial: machine.serial };
  };
  const serial0 = (config: Record<string, string>) => ({ chardevs: [{ ...config, id: 'serial0' }], serial: 'serial0' });

  test.each([
    ['-serial null', { type: 'null' }],
    ['-serial pty', { type: 'pty' }],
    ['-serial file:a=b', { type: 'file', path: 'a=b' }],
    ['-serial file:a,b', { type: 'file', path: 'a,b' }],
    ['-serial pipe:p', { type: 'pipe', path: 'p' }],
    ['-serial unix:/s', { type: 'socket', path: '/s' }],
    ['-serial unix:/s,server,nowait', { type: 'socket', path: '/s', server: 'on', wait: 'off' }],
    ['-serial unix:/s,server=on', { type: 'socket', path: '/s', server: 'on', wait: 'on' }],
    ['-serial tcp:host:7,reconnect=2', { type: 'socket', host: 'host', port: '7', reconnect: '2' }],
    [
      '-serial telnet:localhost:7,server=on,wait=off',
      { type: 'socket', host: 'localhost', port: '7', telnet: 'on', server: 'on', wait: 'off' },
    ],
    ['-serial udp:host:7', { type: 'udp', host: 'host', port: '7' }],
    ['-serial udp::7@:8', { type: 'udp', port: '7', localport: '8' }],
    ['-serial udp:h:7@l:8', { type: 'udp', host: 'h', port: '7', localaddr: 'l', localport: '8' }],
  ])('%s', (line, config) => {
    expect(machineOf(line)).toEqual(serial0(config));
  });

  test('all that have a name are there, but the terminal only where a device has it', () => {
    const line = '-chardev null,id=n -chardev stdio,id=t -chardev pty,id=p,logfile=l,logappend=on -serial chardev:p';
    expect(machineOf(line)).toEqual({
      chardevs: [
        { type: 'null', id: 'n' },
        { type: 'pty', id: 'p', logfile: 'l', logappend: 'on' },
      ],
      serial: 'p',
    });
    const port = '-chardev stdio,id=t -device virtio-serial-device -device virtserialport,chardev=t';
    expect(machineOf(port).chardevs).toEqual([{ type: 'program', id: 't' }]);
    expect(machineOf('-chardev {"backend":"ringbuf","id":"r","size":16}').chardevs).toEqual([
      { type: 'ringbuf', id: 'r', size: 16 },
    ]);
  });
});

describe('monitors', () => {
  const monitors = (line: string) => parseRunArguments(['-kernel', 'K', ...line.split(' ')])!;
  const unix = (path: string, wait = 'off') => socket('compat_monitor0', { path, server: 'on', wait });

  test.each([
    ['-monitor unix:/tmp/m,server=on,wait=off', 'readline', false, unix('/tmp/m')],
    ['-qmp unix:/tmp/m,server,nowait', 'control', false, unix('/tmp/m')],
    ['-qmp unix:/tmp/a,,b,server=on', 'control', false, unix('/tmp/a,b', 'on')],
    ['-qmp-pretty unix:/tmp/m,server,wait=off', 'control', true, unix('/tmp/m')],
    [
      '-qmp tcp::4444,server,nowait',
      'control',
      false,
      socket('compat_monitor0', { port: '4444', server: 'on', wait: 'off' }),
    ],
    [
      '-monitor tcp:[::1]:0,server=on,wait=off',
      'readline',
      false,
      socket('compat_monitor0', { host: '::1', port: '0', server: 'on', wait: 'off' }),
    ],
    ['-monitor pty', 'readline', false, { type: 'pty', id: 'compat_monitor0' }],
    [
      '-chardev socket,id=c,path=/s,server=on,wait=off -mon c',
      'readline',
      false,
      socket('c', { path: '/s', server: 'on', wait: 'off' }),
    ],
    [
      '-chardev socket,id=c,host=0.0.0.0,port=1,server,nowait -mon chardev=c,mode=control,pretty=on',
      'control',
      true,
      socket('c', { host: '0.0.0.0', port: '1', server: 'on', wait: 'off' }),
    ],
  ])('%s', (line, mode, pretty, chardev) => {
    const request = monitors(line);
    expect(request.monitors).toEqual([{ mode, pretty, chardev: chardev.id }]);
    expect(request.machine.chardevs).toEqual([chardev]);
  });

  test('none, and several', () => {
    expect(monitors('-monitor none -monitor vc').monitors).toEqual([]);
    const several = monitors('-monitor unix:/a,server -qmp unix:/b,server -chardev null,id=n -mon n');
    expect(several.monitors.map(({ chardev }) => chardev)).toEqual(['compat_monitor0', 'compat_monitor1', 'n']);
  });

  test('on the terminal there is no console then', () => {
    const terminal = { port: null, escapes: 'never' };
    expect(monitors('-monitor stdio').terminal).toEqual({ ...terminal, monitor: { mode: 'readline', pretty: false } });
    expect(monitors('-qmp stdio').terminal).toEqual({ ...terminal, monitor: { mode: 'control', pretty: false } });
    expect(monitors('-chardev stdio,id=t -mon t').terminal.monitor).toEqual({ mode: 'readline', pretty: false });
    expect(monitors('-serial mon:stdio -monitor none').terminal).toEqual({ port: 'serial0', escapes: 'always' });
  });
});
