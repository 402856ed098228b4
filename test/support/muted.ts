/** Servers whose wake-ups reach nobody, and somebody who would hear them. */
import pg from 'pg';
import type { TestDatabase } from './postgres.js';

export interface Muted {
  /** The same database, for servers that only believe to have notified everybody. */
  readonly database: TestDatabase;
  /** What was heard all the same, by channel. */
  readonly heard: readonly string[];
  stop(): Promise<void>;
}

export async function mute(database: TestDatabase): Promise<Muted> {
  const listener = new pg.Client({ connectionString: database.url });
  await listener.connect();
  // Found before the real one by the servers' sessions.
  await listener.query('create schema mute');
  await listener.query('create function mute.pg_notify(text, text) returns void language sql as $$ select $$');
  await listener.query(`listen tailrace_${database.schema}; listen tailrace_${database.schema}_frames`);
  const heard: string[] = [];
  listener.on('notification', ({ channel }) => heard.push(channel));
  const url = new URL(database.url);
  url.searchParams.set('options', '-c search_path=mute,pg_catalog');
  return { database: { ...database, url: url.href }, heard, stop: () => listener.end() };
}
