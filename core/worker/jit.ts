/** Entry point of the JIT worker: one a machine; translates guest code for all its harts. */
import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { monotonicNow } from '../engine.ts';
import { JitDisk } from './jit-disk.ts';
import { dumpingTranslator, logMail } from './jit-dump.ts';
import type { DumpedTranslator } from './jit-dump.ts';
import { JitLog } from './jit-log.ts';
import type { JitReport, JitWorkerData } from './jit-messages.ts';
import { JitService } from './jit-service.ts';
import { JitStats } from './jit-stats.ts';

const { memory, harts, ports, stats, translator, limits, cache, log: logOptions } = workerData as JitWorkerData;
const say = (report: JitReport) => parentPort?.postMessage(report);

// Regions are compiled here, all of them, and not by the hart that happens to enter one first.
setFlagsFromString('--no-wasm-lazy-compilation');
// The optimising compiler's threads must not take the harts' cores from them.
setFlagsFromString(`--wasm-num-compilation-tasks=${Math.max(1, availableParallelism() >> 1)}`);

// It calls through no table.
const table = new WebAssembly.Table({ element: 'anyfunc', initial: 1 });
const { exports } = await WebAssembly.instantiate(translator, { env: { memory, now: monotonicNow, table } });
const made = exports as unknown as DumpedTranslator;
const log = logOptions === null ? null : new JitLog(logOptions);
const service = new JitService({
  memory,
  harts,
  translator: log === null ? made : dumpingTranslator(memory, made, log),
  limits,
  stats: new JitStats(harts, stats),
  post: (hart, mail) => {
    if (log !== null) logMail(log, hart, mail);
    ports[hart]!.postMessage(mail);
  },
  report: (message) => say({ message }),
  disk: cache === null ? null : new JitDisk(cache, (message) => say({ message })),
});
service.load();
say('ready');
service.run();
service.save();
for (const port of ports) port.close();
parentPort?.close();
