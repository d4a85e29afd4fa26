/** Captures whose requests a page asks for one after the other: the last one stays open for a while. */
import { stat } from 'node:fs/promises';
import { errorLine, RingsideError } from '../../core/errors.ts';
import { CaptureFile } from '../../core/inspect/capture-format.ts';

/** Nobody has asked for so long: the file is closed, ms. */
const IDLE_MS = 60_000;

export class CaptureFiles {
  #last: { capture: CaptureFile; version: string } | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;

  /**
   * @param file an absolute path
   * @param use must be done with the capture when it returns
   * @throws RingsideError as CaptureFile.open does
   */
  async look<T>(file: string, use: (capture: CaptureFile) => T): Promise<T> {
    const turn = this.#turn.then(async () => use(await this.#open(file)));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #open(file: string): Promise<CaptureFile> {
    const version = await versionOf(file);
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.close(), IDLE_MS);
    this.#idle.unref();
    if (this.#last?.version === version) return this.#last.capture;
    this.close();
    const capture = await CaptureFile.open(file);
    this.#last = { capture, version };
    return capture;
  }

  close(): void {
    this.#last?.capture.close();
    this.#last = null;
  }
}

/** Another one when the file is another, or has been changed. */
async function versionOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeMs } = await stat(file);
    return `${dev} ${ino} ${size} ${mtimeMs} ${file}`;
  } catch (error) {
    throw new RingsideError('io', `"${file}" cannot be opened: ${errorLine(error)}.`, { cause: error });
  }
}
