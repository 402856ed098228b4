/** The benchmark's command line: what it accepts, and what it says to the rest. */
import { describe, expect, it } from 'vitest';
import { helpText, readOptions } from '../../../bench/options.js';

const read = (...args: string[]) => readOptions(args, ['P1', 'P3']);

describe('options', () => {
  it('measure everything three times under every profile unless told otherwise', () => {
    expect(read()).toMatchObject({ only: undefined, repeats: 3, quick: false });
    expect(read().profiles).toEqual(['plain', 'slow-commit', 'held-snapshot']);
    expect(read('--quick')).toMatchObject({ profiles: ['plain'], repeats: 1, quick: true });
    expect(read('--only', 'p3, P1', '--profile', 'held-snapshot', '--repeats', '5')).toMatchObject({
      only: ['P3', 'P1'],
      profiles: ['held-snapshot'],
      repeats: 5,
    });
  });

  it.each([
    [['--only', 'P7'], 'there is no measure P7; there are P1, P3'],
    [['--profile', 'fast'], 'there is no profile "fast"; there are plain, slow-commit, held-snapshot and all'],
    [['--repeats', '0'], '--repeats must be a whole number from 1 to 100'],
    [['--repeats', '1.5'], '--repeats must be a whole number from 1 to 100'],
    [['--often'], "Unknown option '--often'"],
  ])('%j is refused', (args, message) => {
    expect(() => read(...args)).toThrow(message);
  });

  it('are all in the help, with the measures', () => {
    const text = helpText([{ id: 'P1', title: 'a measure' }]);
    for (const option of ['only', 'profile', 'repeats', 'quick', 'costs', 'json', 'directory', 'help']) {
      expect(text).toContain(`--${option}`);
    }
    expect(text).toMatch(/P1 +a measure/);
  });
});
