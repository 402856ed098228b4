/** The benchmark's command line: what it accepts, and what it says to the rest. */
import { describe, expect, it } from 'vitest';
import { helpText, readOptions } from '../../../bench/options.js';

const read = (...args: string[]) => readOptions(args, ['P1', 'P3']);

describe('options', () => {
  it('measure everything three times under every profile unless told otherwise', () => {
    expect(read()).toMatchObject({ only: undefined, repeats: 3, scale: 'full', keep: true });
    expect(read().profiles).toEqual(['plain', 'slow-commit', 'held-snapshot']);
    expect(read('--quick')).toMatchObject({ profiles: ['plain'], repeats: 1, scale: 'quick', keep: false });
    expect(read('--only', 'p3, P1', '--profile', 'held-snapshot', '--repeats', '5')).toMatchObject({
      only: ['P3', 'P1'],
      profiles: ['held-snapshot'],
      repeats: 5,
      keep: false,
    });
  });

  it('name a scale, which knows what is measured, how often, and whether that is kept', () => {
    const all = ['P1', 'P2', 'P3', 'P4', 'P5', 'P9', 'P10'];
    const short = { scale: 'short', profiles: ['plain'], repeats: 3, keep: false };
    expect(readOptions(['--short'], all)).toMatchObject({ ...short, only: all.filter((id) => id !== 'P5') });
    expect(readOptions(['--short', '--only', 'P5'], all)).toMatchObject({ ...short, only: ['P5'] });
    expect(readOptions(['--deep', '--only', 'P4'], all)).toMatchObject({ scale: 'deep', keep: false });
    expect(readOptions(['--deep', '--only', 'P4', '--keep'], all)).toMatchObject({ scale: 'deep', keep: true });
    expect(readOptions(['--costs'], all)).toMatchObject({ scale: 'full', keep: false });
  });

  it.each([
    [['--only', 'P7'], 'there is no measure P7; there are P1, P3'],
    [['--profile', 'fast'], 'there is no profile "fast"; there are plain, slow-commit, held-snapshot and all'],
    [['--quick', '--short'], 'choose one of --quick, --short, --deep'],
    [['--quick', '--keep'], '--keep is for results of the whole load; leave out --quick'],
    [['--costs', '--keep'], '--keep is for results of the whole load; leave out --costs'],
    [['--repeats', '0'], '--repeats must be a whole number from 1 to 100'],
    [['--repeats', '1.5'], '--repeats must be a whole number from 1 to 100'],
    [['--often'], "Unknown option '--often'"],
  ])('%j is refused', (args, message) => {
    expect(() => read(...args)).toThrow(message);
  });

  it('are all in the help, with the measures', () => {
    const text = helpText([{ id: 'P1', title: 'a measure' }]);
    for (const option of [
      'only',
      'profile',
      'repeats',
      'quick',
      'short',
      'deep',
      'keep',
      'costs',
      'json',
      'directory',
      'help',
    ]) {
      expect(text).toContain(`--${option}`);
    }
    expect(text).toMatch(/P1 +a measure/);
  });
});
