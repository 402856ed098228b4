/**
 * A named SQL statement. Its name is the path of its file (`executions.claim`) and serves as prepared-statement
 * name, leading comment, metric label and log field. `{schema}` stands for the installation's schema.
 *
 * Every statement registers itself, so that a test can prepare each against a migrated database.
 */

export interface Statement {
  readonly name: string;
  readonly text: string;
}

const registry = new Map<string, Statement>();

export function statement(name: string, text: string): Statement {
  if (registry.has(name)) throw new Error(`two statements are named ${name}`);
  if (name.length > 63) throw new Error(`statement name ${name} is longer than Postgres keeps`);
  const made = { name, text: text.trim() };
  registry.set(name, made);
  return made;
}

/** All statements defined by the modules loaded so far. */
export function statements(): readonly Statement[] {
  return [...registry.values()];
}

export function render(made: Statement, schema: string): string {
  return `/* ${made.name} */ ${inSchema(made.text, schema)}`;
}

/** Puts the schema's name where SQL text says `{schema}`. The name was checked against SCHEMA_NAME before. */
export function inSchema(sql: string, schema: string): string {
  return sql.replaceAll('{schema}', schema);
}

export const SCHEMA_NAME = /^[a-z_][a-z0-9_]{0,39}$/;
