/**
 * Tells functions of the database that take no actor whom to name in what they log: as a setting of the transaction, which
 * ends with it. append_log puts it into every entry that names nobody.
 */

/**
 * A call of one, whose first argument is the number of a namespace. That argument waits for the setting: the planner may
 * otherwise make the call first.
 *
 * actor: the parameter that holds the name, empty for nobody.
 */
export function actingAs(actor: string, columns: string, call: (namespace: string) => string): string {
  const namespace = 'case when who.actor is not null then $1::int end';
  return `with who as materialized (select set_config('tailrace.actor', ${actor}::text, true) as actor)
   select ${columns} from who cross join lateral ${call(namespace)}`;
}
