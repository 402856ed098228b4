import { createHmac, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type Opened, Sealer } from '../../../src/services/tokens/sealing.js';

const NAMESPACE = 7;
const sealer = new Sealer(randomBytes(32));

/** A secret does not show itself; what it signs tells two apart. */
function signed(opened: Opened): string {
  if ('trouble' in opened) throw new Error(opened.trouble);
  return createHmac('sha256', opened.secret).update('something').digest('hex');
}

function trouble(opened: Opened): string {
  return 'trouble' in opened ? opened.trouble : 'none';
}

describe('a sealed secret', () => {
  it('opens as the same each time, and is another one each time it is made', () => {
    const [one, other] = [sealer.sealNew(NAMESPACE), sealer.sealNew(NAMESPACE)];
    expect(signed(sealer.open(NAMESPACE, one))).toBe(signed(sealer.open(NAMESPACE, one)));
    expect(signed(sealer.open(NAMESPACE, one))).not.toBe(signed(sealer.open(NAMESPACE, other)));
    expect(one).toHaveLength(65);
  });

  it('opens with its own key alone, and says that another one was needed', () => {
    const key = randomBytes(32);
    const sealed = new Sealer(key).sealNew(NAMESPACE);
    expect(trouble(sealer.open(NAMESPACE, sealed))).toBe('other_key');
    expect(trouble(new Sealer(Buffer.from(key)).open(NAMESPACE, sealed))).toBe('none');
  });

  it('does not open in another namespace', () => {
    expect(trouble(sealer.open(NAMESPACE + 1, sealer.sealNew(NAMESPACE)))).toBe('damaged');
  });

  it('is known to be damaged, whichever bit of it was', () => {
    const sealed = sealer.sealNew(NAMESPACE);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const found = trouble(sealer.open(NAMESPACE, flipped(sealed, bit)));
      expect(found).toBe(bit < 8 ? 'unknown_version' : bit < 40 ? 'other_key' : 'damaged');
    }
  });

  it('is known to be damaged when it was cut short or made longer', () => {
    const sealed = sealer.sealNew(NAMESPACE);
    expect(trouble(sealer.open(NAMESPACE, Buffer.alloc(0)))).toBe('unknown_version');
    for (let length = 1; length < sealed.length; length++) {
      expect(trouble(sealer.open(NAMESPACE, sealed.subarray(0, length)))).toBe('damaged');
    }
    expect(trouble(sealer.open(NAMESPACE, Buffer.concat([sealed, Buffer.of(0)])))).toBe('damaged');
  });
});

it('neither key nor secret is shown by what prints objects', () => {
  const key = randomBytes(32);
  const made = new Sealer(key);
  const shown = [made, made.open(NAMESPACE, made.sealNew(NAMESPACE))]
    .flatMap((object) => [inspect(object, { depth: 9, showHidden: true }), JSON.stringify(object)])
    .join('\n');
  expect(shown).not.toContain(key.toString('hex'));
  expect(shown).not.toContain(key.toString('base64'));
  expect(shown).not.toMatch(/Buffer|Uint8Array/);
});

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}
