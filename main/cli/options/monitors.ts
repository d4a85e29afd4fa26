/** `-monitor`, `-qmp` and `-mon`: which monitors there are, and where. */
import type { Place } from './chardevs.ts';
import { choice, onOff, text } from './syntax.ts';

/** readline: HMP; control: QMP. */
export type MonitorMode = 'readline' | 'control';

export interface MonitorKind {
  mode: MonitorMode;
  /** QMP on several lines. */
  pretty: boolean;
}

/** As an option has it. */
export interface MonitorOption extends MonitorKind {
  place: Place;
}

/** One that is not on the terminal. */
export interface MonitorRequest extends MonitorKind {
  /** The character device that it is on. */
  chardev: string;
}

export const MON_KEYS = {
  chardev: text('ID', 'the -chardev that it is on'),
  mode: choice(['readline', 'control'], 'HMP or QMP'),
  pretty: onOff('QMP on several lines'),
};
