/**
 * The part of the WebAssembly JavaScript interface that core uses. Neither TypeScript's ECMAScript library nor @types/node
 * declares it, and its DOM library, which does, has no place in core.
 */
declare namespace WebAssembly {
  type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'externref' | 'anyfunc';
  type ImportExportKind = 'function' | 'global' | 'memory' | 'table' | 'tag';
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the signature is the module's
  type ExportValue = ((...args: any[]) => any) | Global | Memory | Table;
  type ImportValue = ExportValue | number | bigint;
  type Imports = Record<string, Record<string, ImportValue>>;
  type Exports = Record<string, ExportValue>;

  interface MemoryDescriptor {
    /** 64 KiB pages. */
    initial: number;
    maximum?: number;
    shared?: boolean;
  }

  interface Memory {
    readonly buffer: ArrayBufferLike;
    grow(delta: number): number;
  }
  const Memory: { prototype: Memory; new (descriptor: MemoryDescriptor): Memory };

  interface Global<T = unknown> {
    value: T;
    valueOf(): T;
  }
  const Global: {
    prototype: Global;
    new <T>(descriptor: { value: ValueType; mutable?: boolean }, value?: T): Global<T>;
  };

  interface Table {
    readonly length: number;
    get(index: number): unknown;
    set(index: number, value?: unknown): void;
    grow(delta: number, value?: unknown): number;
  }
  const Table: {
    prototype: Table;
    new (descriptor: { element: 'anyfunc' | 'externref'; initial: number; maximum?: number }, value?: unknown): Table;
  };

  interface Module {
    readonly __module?: never;
  }
  const Module: {
    prototype: Module;
    new (bytes: BufferSource): Module;
    exports(module: Module): { name: string; kind: ImportExportKind }[];
    imports(module: Module): { module: string; name: string; kind: ImportExportKind }[];
    customSections(module: Module, name: string): ArrayBuffer[];
  };

  interface Instance {
    readonly exports: Exports;
  }
  const Instance: { prototype: Instance; new (module: Module, imports?: Imports): Instance };

  type BufferSource = ArrayBufferView | ArrayBuffer;

  function compile(bytes: BufferSource): Promise<Module>;
  function validate(bytes: BufferSource): boolean;
  function instantiate(bytes: BufferSource, imports?: Imports): Promise<{ module: Module; instance: Instance }>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;

  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}
}
