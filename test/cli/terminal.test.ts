import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { Terminal } from '../../main/cli/terminal.ts';

function setup({ isTTY = true } = {}) {
  const log: string[] = [];
  const events = new EventEmitter();
  const input = { isTTY, setRawMode: (raw: boolean) => log.push(raw ? 'raw' : 'cooked') };
  const terminal = new Terminal(input, events, () => log.push('stopped'));
  return { log, events, terminal };
}

test('raw between enter and leave', () => {
  const { log, terminal } = setup();
  terminal.enter();
  terminal.leave();
  expect(log).toEqual(['raw', 'cooked']);
});

test('entering and leaving twice is the same as once', () => {
  const { log, terminal } = setup();
  terminal.enter();
  terminal.enter();
  terminal.leave();
  terminal.leave();
  expect(log).toEqual(['raw', 'cooked']);
});

test('a stop gives the terminal back first, and going on takes it again', () => {
  const { log, events, terminal } = setup();
  terminal.enter();
  events.emit('SIGTSTP');
  events.emit('SIGCONT');
  expect(log).toEqual(['raw', 'cooked', 'stopped', 'raw']);
});

test('going on after a stop that could not be seen (SIGSTOP) sets the mode anew', () => {
  const { log, events, terminal } = setup();
  terminal.enter();
  events.emit('SIGCONT');
  expect(log).toEqual(['raw', 'cooked', 'raw']);
});

test('the end of the process restores it', () => {
  const { log, events, terminal } = setup();
  terminal.enter();
  events.emit('exit');
  expect(log).toEqual(['raw', 'cooked']);
});

test('nothing is left listening', () => {
  const { events, terminal } = setup();
  terminal.enter();
  terminal.leave();
  expect(events.eventNames()).toEqual([]);
});

test('what is no terminal is left alone', () => {
  const { log, events, terminal } = setup({ isTTY: false });
  terminal.enter();
  expect(events.eventNames()).toEqual([]);
  terminal.leave();
  expect(log).toEqual([]);
});

test('a terminal that has gone is no error', () => {
  const events = new EventEmitter();
  let gone = false;
  const setRawMode = () => {
    if (gone) throw new Error('EIO');
  };
  const terminal = new Terminal({ isTTY: true, setRawMode }, events, () => {});
  terminal.enter();
  gone = true;
  expect(() => terminal.leave()).not.toThrow();
});
