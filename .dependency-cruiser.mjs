/**
 * Who may import whom (ARCHITECTURE.md, "The shape"):
 *
 *     renderer -> main/ipc/contract -> core/api
 *     main     -> core, native
 *     core     -> nothing outside core
 */

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment:
        'Two files that import each other are one file; type-only cycles count too. A component that contains itself imports itself.',
      severity: 'error',
      from: { path: '^(.+)$' },
      to: { circular: true, pathNot: '^$1$' },
    },
    {
      name: 'resolvable',
      comment: 'An import that resolves to nothing fails at run time.',
      severity: 'error',
      from: { pathNot: '\\.as\\.ts$' },
      to: { couldNotResolve: true, pathNot: '^(electron|\\$|virtual:)|\\?|\\.(css|svg|png|wasm|node)$' },
    },
    {
      name: 'core-stands-alone',
      comment: 'core runs under plain Node: nothing of main, renderer, native or test, and no Electron.',
      severity: 'error',
      from: { path: '^core/' },
      to: { path: '^(main|renderer|native|test)/|node_modules/(electron|ws|node-pty|svelte)/' },
    },
    {
      name: 'api-is-data',
      comment: 'core/api is what other processes share: schemas and types, with no emulator behind them.',
      severity: 'error',
      from: { path: '^core/api/' },
      to: { path: '^core/', pathNot: '^core/(api/|errors\\.ts$)' },
    },
    {
      name: 'api-has-no-node',
      comment: 'core/api is bundled into the renderer, which has no Node.',
      severity: 'error',
      from: { path: '^(core/api/|core/errors\\.ts$|main/ipc/contract)' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'contract-is-the-border',
      comment: 'main/ipc/contract may use core/api and zod only: the renderer imports it.',
      severity: 'error',
      from: { path: '^main/ipc/contract' },
      to: { path: '^(core|main|native|renderer|test)/', pathNot: '^(core/api/|core/errors\\.ts$|main/ipc/contract)' },
    },
    {
      name: 'renderer-through-the-contract',
      comment: 'The renderer knows main only by main/ipc/contract, and core not at all.',
      severity: 'error',
      from: { path: '^renderer/' },
      to: { path: '^(core|main|native|test)/', pathNot: '^main/ipc/contract' },
    },
    {
      name: 'renderer-has-no-node',
      comment: 'The renderer is sandboxed and is served to browsers too.',
      severity: 'error',
      from: { path: '^renderer/', pathNot: '\\.config\\.(ts|js|mjs)$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'nobody-imports-the-renderer',
      comment: 'It is built by Vite and loaded by URL.',
      severity: 'error',
      from: { path: '^(core|main|native)/' },
      to: { path: '^renderer/' },
    },
    {
      name: 'nobody-imports-tests',
      severity: 'error',
      from: { path: '^(core|main|native|renderer)/' },
      to: { path: '^test/' },
    },
    {
      name: 'native-stands-alone',
      comment: 'The addon and its build script know nothing of what uses them.',
      severity: 'error',
      from: { path: '^native/' },
      to: { path: '^(main|renderer|test)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|build|generated|coverage)/|^test/out/|\\.as\\.ts$' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types', 'svelte', 'default'],
      extensions: ['.ts', '.mjs', '.js', '.svelte', '.json'],
    },
  },
};
