import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    // The machine tests start worker threads of their own; two files at once is what two cores bear.
    maxWorkers: 2,
    pool: 'forks',
  },
});
