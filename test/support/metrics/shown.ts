/** What is shipped around the metrics, as tests look at it: the table of the docs, the dashboard's and the alerts' expressions. */
import { readFileSync } from 'node:fs';

export interface Documented {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly meaning: string;
}

export function documented(): Documented[] {
  const rows = readFileSync('docs/metrics.md', 'utf8').matchAll(
    /^\| `([a-z0-9_]+)` \| (\w+) \| ([^|]*) \| (?:server|installation) \| (.*) \|$/gm,
  );
  return [...rows].map(([, name = '', type = '', labels = '', meaning = '']) => ({
    name,
    type,
    labels: labels.trim() === '' ? [] : labels.trim().split(', ').sort(),
    meaning,
  }));
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
}

export function dashboard(): Dashboard {
  return JSON.parse(readFileSync('deploy/grafana/tailrace.json', 'utf8')) as Dashboard;
}

export interface Alert {
  readonly name: string;
  readonly expression: string;
  readonly severity: string;
  readonly summary: string;
  readonly action: string;
}

/** Every rule has the same lines, in the same order: anything else fails. */
export function alerts(): Alert[] {
  const [, ...rules] = readFileSync('deploy/prometheus/alerts.yaml', 'utf8').split('      - alert: ');
  return rules.map((rule) => {
    const found =
      /^(\w+)\n {8}expr: (.+)\n(?: {8}for: \d+[smh]\n)? {8}labels: \{ severity: (\w+) \}\n {8}annotations:\n {10}summary: "(.+)"\n {10}action: "(.+)"\n+$/.exec(
        rule,
      );
    const [, name, expression, severity, summary, action] = found ?? [];
    if (!name || !expression || !severity || !summary || !action) throw new Error(`a rule of another form: ${rule}`);
    return { name, expression, severity, summary, action };
  });
}
