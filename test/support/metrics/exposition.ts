/**
 * Reads Prometheus's text format as strictly as it is written down, and throws at whatever a scraper, or promtool, would
 * object to: the order of lines, names, labels, escapes, doubles, units at the end of names, buckets that do not add up.
 */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ScrapedFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

const NAME = /^[a-z][a-z0-9_]*$/;
const SAMPLE = /^([a-z][a-z0-9_]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-z][a-z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
const VALUE = /^(?:[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|\+Inf)$/;
/** Ends of names that are no unit of ours. */
const FOREIGN_UNIT = /_(ms|millis|milliseconds|minutes|hours|days|kb|mb|percent)(_total)?$/;

export function readExposition(text: string): ReadonlyMap<string, ScrapedFamily> {
  if (!text.endsWith('\n')) throw new Error('the last line is not ended');
  const families = new Map<string, ScrapedFamily>();
  for (const block of text.slice(0, -1).split('\n\n')) {
    const family = readFamily(block.split('\n').filter((line) => line !== ''));
    if (families.has(family.name)) throw new Error(`${family.name} comes twice`);
    families.set(family.name, family);
  }
  return families;
}

/** The value of the one sample with these labels and no others than `also`. */
export function sampleOf(
  families: ReadonlyMap<string, ScrapedFamily>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const family = families.get(name.replace(/_(bucket|sum|count)$/, '')) ?? families.get(name);
  const found = family?.samples.filter(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  if (found !== undefined && found.length > 1) throw new Error(`${name} ${JSON.stringify(labels)} is not one sample`);
  return found?.[0]?.value;
}

/** Without `le`, which is the format's own. */
export function labelNames({ samples }: ScrapedFamily): string[] {
  return [...new Set(samples.flatMap(({ labels }) => Object.keys(labels)))].filter((name) => name !== 'le').sort();
}

function readFamily([helpLine = '', typeLine = '', ...lines]: readonly string[]): ScrapedFamily {
  const [, name = '', help = ''] = /^# HELP (\S+) (.+)$/.exec(helpLine) ?? [];
  const [, typed = '', type = ''] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(typeLine) ?? [];
  if (name === '' || name !== typed) throw new Error(`no family begins with: ${helpLine}`);
  if (!NAME.test(name)) throw new Error(`${name} is no name`);
  if (!help.endsWith('.')) throw new Error(`${name}: its help is no sentence: ${help}`);
  if (FOREIGN_UNIT.test(name)) throw new Error(`${name} is not in a base unit`);
  if (name.endsWith('_total') !== (type === 'counter')) throw new Error(`${name} is a ${type}`);
  const samples = lines.map(readSample);
  const seen = new Set<string>();
  for (const sample of samples) {
    const key = `${sample.name} ${JSON.stringify(Object.entries(sample.labels).sort())}`;
    if (seen.has(key)) throw new Error(`${key} comes twice`);
    seen.add(key);
    const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    if (!suffixes.some((suffix) => sample.name === name + suffix)) throw new Error(`${sample.name} is not of ${name}`);
    if (type === 'counter' && !(sample.value >= 0)) throw new Error(`${key} counts ${sample.value}`);
  }
  if (type === 'histogram') checkBuckets(name, samples);
  return { name, help, type: type as ScrapedFamily['type'], samples };
}

function readSample(line: string): Sample {
  const [, name, labelled = '', value = ''] = SAMPLE.exec(line) ?? [];
  if (name === undefined || !VALUE.test(value)) throw new Error(`no sample: ${line}`);
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < labelled.length) {
    const [, label, text = ''] = LABEL.exec(labelled) ?? [];
    if (label === undefined || label in labels) throw new Error(`labels that cannot be read: ${line}`);
    labels[label] = text.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  if (labelled.endsWith(',')) throw new Error(`labels that cannot be read: ${line}`);
  return { name, labels, value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value) };
}

function checkBuckets(name: string, samples: readonly Sample[]): void {
  const groups = new Map<string, Sample[]>();
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels;
    const key = JSON.stringify(labels);
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  for (const [key, group] of groups) {
    const buckets = group.filter((sample) => sample.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) => Number(labels['le']?.replace('+Inf', 'Infinity')));
    const counts = buckets.map(({ value }) => value);
    const isRising = (values: readonly number[], equal: boolean) =>
      values.every((value, i) => i === 0 || value > Number(values[i - 1]) || (equal && value === values[i - 1]));
    const count = group.find((sample) => sample.name === `${name}_count`)?.value;
    const hasSum = group.some((sample) => sample.name === `${name}_sum`);
    const isWhole = bounds.at(-1) === Number.POSITIVE_INFINITY && counts.at(-1) === count && hasSum;
    if (!isRising(bounds, false) || !isRising(counts, true) || !isWhole)
      throw new Error(`${name} ${key} does not add up`);
  }
}
