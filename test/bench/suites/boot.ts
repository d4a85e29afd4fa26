/** How long a Linux guest takes: from starting the program to the kernel's init message, and to a command's output. */
import { runBoard } from '../lib/emulators.ts';
import type { Figure } from '../lib/report.ts';
import { type Context, interleaved } from '../lib/suite.ts';

const MARKERS = [
  { name: 'boot-to-init', text: 'Run /init as init process' },
  // Not as it stands on the command line, which the kernel prints.
  { name: 'boot-to-command', text: 'ready=42' },
];

export async function boot(context: Context): Promise<Figure[]> {
  const { kernel, initrd, append } = await context.guest();
  const board = {
    memory: 1024,
    bios: 'default' as const,
    kernel,
    initrd,
    append: `${append} ringside.exec="echo ready=$((6*7))"`,
  };
  const figures = MARKERS.map(({ name }): Figure => ({ name, unit: 's', better: 'less', ours: [], peer: [] }));
  await interleaved(context, 'boot', async (emulator) => {
    const texts = MARKERS.map(({ text }) => text);
    const { seconds } = await runBoard(emulator, board, texts, 300);
    figures.forEach((figure, i) => figure[emulator.name].push(seconds.get(texts[i])!));
  });
  return figures;
}
