/** What a PromQL expression asks for: the metrics it names, and the labels it selects and groups by. Enough of the language for that. */

export interface Asked {
  readonly metric: string;
  readonly labels: readonly string[];
}

export interface Expression {
  readonly selectors: readonly Asked[];
  /** Of `by` and `without`, which may be of any of the metrics. */
  readonly grouped: readonly string[];
}

const GROUPING = /\b(?:by|without)\s*\(([^()]*)\)/g;
const SELECTOR = /([a-zA-Z_:][\w:]*)\s*(?:\{((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\})?/g;
const MATCHER = /([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"/g;
const WORDS = new Set(['and', 'or', 'unless', 'offset', 'bool', 'on', 'ignoring', 'group_left', 'group_right', 'inf']);

export function readExpression(expression: string): Expression {
  if (balance(expression, '(', ')') !== 0 || balance(expression, '[', ']') !== 0)
    throw new Error(`open: ${expression}`);
  const grouped = [...expression.matchAll(GROUPING)].flatMap(([, list = '']) =>
    list.split(',').map((name) => name.trim()),
  );
  const rest = expression
    .replace(GROUPING, ' ')
    .replace(/\[[^\]]*\]/g, '')
    .replace(/\boffset\s+\w+/g, '');
  const selectors = [...rest.matchAll(SELECTOR)].flatMap(([, name = '', matchers = ''], i, all) => {
    const after = rest.slice((all[i]?.index ?? 0) + (all[i]?.[0].length ?? 0));
    if (WORDS.has(name) || /^\s*\(/.test(after)) return [];
    return [{ metric: name, labels: [...matchers.matchAll(MATCHER)].map(([, label = '']) => label) }];
  });
  if (selectors.length === 0) throw new Error(`nothing is asked for: ${expression}`);
  return { selectors, grouped };
}

function balance(text: string, open: string, close: string): number {
  return text.split(open).length - text.split(close).length;
}
