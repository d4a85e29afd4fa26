import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import { defineConfig } from 'vitest/config';

/** Tests that boot guests and look at how quickly they answer: one file at a time, when the others are done. */
const ALONE = ['test/machine/**/*.test.ts'];

/** Components of the user interface, in a document without a browser. */
const COMPONENTS = ['test/renderer/**/*.test.ts'];

export default defineConfig({
  test: {
    // Bounds for what hangs; a busy host is slow.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    projects: [
      {
        extends: true,
        // The machine tests start worker threads of their own; two files at once is what two cores bear.
        test: {
          name: 'parts',
          include: ['test/**/*.test.ts'],
          exclude: [...ALONE, ...COMPONENTS],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        plugins: [svelte({ configFile: 'renderer/svelte.config.js' }), svelteTesting({ autoCleanup: false })],
        test: {
          name: 'components',
          include: COMPONENTS,
          environment: 'happy-dom',
          setupFiles: 'test/renderer/setup.ts',
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      { extends: true, test: { name: 'machine', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
