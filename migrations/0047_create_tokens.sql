-- Tokens: the keys to namespaces. Of a secret only its hash is here; whoever reads this table gets in nowhere.
--
-- Why: servers remember who a secret belongs to until registry.version moves, which every process compares once a second;
-- so making and revoking raise it under its row lock, and a revoked token is refused everywhere within seconds.
-- And append_log learns to name who brought things about where the function that calls it was not told: older servers go
-- on without.
-- Locks: creates only.
-- older-servers: allowed
create table {schema}.token (
  id uuid primary key, -- the secret begins with it
  namespace int, -- null: bound to none, good for all
  request_id text, -- null: no protection against repeats
  name text not null check (octet_length(name) between 1 and 200),
  roles smallint[] not null check (cardinality(roles) > 0 and roles <@ array[1, 2, 3, 4, 5]::smallint[]),
  hash bytea not null check (octet_length(hash) = 32), -- SHA-256 of the whole secret
  actor text not null default '', -- who made it
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz,
  revoked_by text not null default '',
  revoke_reason text not null default '',
  used_at timestamptz -- by any server, within about a minute
) with (fillfactor = 80);
create unique index token_request on {schema}.token (coalesce(namespace, 0), request_id) where request_id is not null;
-- The order of the list.
create index token_name on {schema}.token (name, id);

-- Makes a token. p_namespace: its name, or * for all. verdict: made | reused (token: the one made under that request id) |
-- no_namespace. Details of the entry: subject (its id), name, roles, bound_to, expire_time, actor. What is bound to no
-- namespace is told in none: its entry has the number 0.
create function {schema}.create_token(p_id uuid, p_namespace text, p_request_id text, p_name text, p_roles smallint[],
  p_hash bytea, p_expiry_ms bigint, p_actor text, out verdict text, out token uuid) language plpgsql volatile as $$
declare
  v_namespace int;
  v_made {schema}.token;
begin
  perform 1 from {schema}.registry for update;
  if p_namespace <> '*' then
    select n.id into v_namespace from {schema}.namespace n where n.name = p_namespace;
    if not found then
      verdict := 'no_namespace';
      return;
    end if;
  end if;
  select t.id into token from {schema}.token t
    where coalesce(t.namespace, 0) = coalesce(v_namespace, 0) and t.request_id = p_request_id;
  if found then
    verdict := 'reused';
    return;
  end if;
  insert into {schema}.token (id, namespace, request_id, name, roles, hash, actor, expires_at)
    values (p_id, v_namespace, p_request_id, p_name, p_roles, p_hash, p_actor,
      clock_timestamp() + p_expiry_ms * interval '1 millisecond')
    returning * into v_made;
  verdict := 'made';
  token := p_id;
  update {schema}.registry set version = registry.version + 1;
  perform {schema}.append_log(array[coalesce(v_namespace, 0)], array[132::smallint], array[null::uuid], array[null::uuid],
    array[null::int], array[null::smallint], array[null::smallint], array[null::int],
    array[jsonb_build_object('subject', p_id, 'name', p_name, 'roles', p_roles, 'bound_to', p_namespace, 'expire_time',
      v_made.expires_at, 'actor', p_actor)::text]);
end $$;

-- Ends a token for good. p_namespace: only one that is bound to it; *: whichever. verdict: revoked | same (it was before) |
-- not_found. Details of the entry: subject, name, bound_to, actor, reason.
create function {schema}.revoke_token(p_id uuid, p_namespace text, p_actor text, p_reason text, out verdict text)
language plpgsql volatile as $$
declare
  v_token {schema}.token;
  v_bound text;
begin
  perform 1 from {schema}.registry for update;
  select t.* into v_token from {schema}.token t where t.id = p_id for update;
  select n.name into v_bound from {schema}.namespace n where n.id = v_token.namespace;
  if v_token.id is null or (p_namespace <> '*' and v_bound is distinct from p_namespace) then
    verdict := 'not_found';
    return;
  end if;
  if v_token.revoked_at is not null then
    verdict := 'same';
    return;
  end if;
  update {schema}.token t set revoked_at = clock_timestamp(), revoked_by = p_actor, revoke_reason = p_reason
    where t.id = p_id;
  verdict := 'revoked';
  update {schema}.registry set version = registry.version + 1;
  perform {schema}.append_log(array[coalesce(v_token.namespace, 0)], array[133::smallint], array[null::uuid],
    array[null::uuid], array[null::int], array[null::smallint], array[null::smallint], array[null::int],
    array[jsonb_build_object('subject', p_id, 'name', v_token.name, 'bound_to', coalesce(v_bound, '*'), 'actor', p_actor,
      'reason', p_reason)::text]);
end $$;

-- Makes the first token of an installation: role admin, for all namespaces. Of many processes that try at once one makes
-- it. p_always: also when there is one already. verdict: made | same (it is the one offered) | there (another live one is) |
-- spent (the one offered has ended, or its id belongs to another secret).
create function {schema}.bootstrap_token(p_id uuid, p_hash bytea, p_always boolean, p_actor text, out verdict text)
language plpgsql volatile as $$
declare
  v_known {schema}.token;
begin
  perform 1 from {schema}.registry for update;
  select t.* into v_known from {schema}.token t where t.id = p_id;
  if v_known.id is not null and v_known.hash = p_hash and v_known.revoked_at is null
      and (v_known.expires_at is null or v_known.expires_at > clock_timestamp()) then
    verdict := 'same';
  elsif not p_always and {schema}.has_admin_token() then
    verdict := 'there';
  elsif v_known.id is not null then
    verdict := 'spent';
  else
    select c.verdict into verdict
      from {schema}.create_token(p_id, '*', null, 'bootstrap', array[5::smallint], p_hash, null, p_actor) c;
  end if;
end $$;

-- Whether somebody holds the key to everything. Tokens are few, and this is asked at starts.
create function {schema}.has_admin_token() returns boolean language sql stable as $$
  select exists (select from {schema}.token t
    where t.namespace is null and 5 = any (t.roles) and t.revoked_at is null
      and (t.expires_at is null or t.expires_at > clock_timestamp()))
$$;

-- As it was (0003), and: entries that name nobody name whom the transaction's setting tailrace.actor names, if it does.
create or replace function {schema}.append_log(
  p_namespace int[], p_kind smallint[], p_execution uuid[], p_flow uuid[], p_class int[],
  p_from smallint[], p_to smallint[], p_attempt int[], p_body text[]
) returns bigint
language plpgsql volatile as $$
declare
  v_seq   bigint;
  v_large int[];
  v_actor text := current_setting('tailrace.actor', true);
  v_said  text[] := p_body;
  v_body  text[];
  v_index int;
begin
  perform pg_current_xact_id();
  if v_actor <> '' then
    select array_agg((jsonb_build_object('actor', v_actor) || (coalesce(p_body[i], '{}')::jsonb -
        case when coalesce(p_body[i]::jsonb ->> 'actor', '') = '' then 'actor' else '' end))::text order by i) into v_said
      from generate_subscripts(p_kind, 1) i;
  end if;
  v_body := v_said;
  select array_agg(b.i) into v_large from unnest(v_said) with ordinality b(body, i) where octet_length(b.body) > 2048;
  v_seq := nextval('{schema}.log_seq');
  if v_large is not null then
    insert into {schema}.log_body (seq, idx, body) select v_seq, i, v_said[i] from unnest(v_large) i;
    foreach v_index in array v_large loop
      v_body[v_index] := null;
    end loop;
  end if;
  insert into {schema}.log (seq, n, at, namespace, kind, execution, flow, class, from_state, to_state, attempt, body, large)
    values (v_seq, cardinality(p_kind), clock_timestamp(), p_namespace, p_kind, p_execution, p_flow, p_class,
            p_from, p_to, p_attempt, v_body, v_large);
  insert into {schema}.log_flow (flow, seq)
    select distinct coalesce(e.flow, e.execution), v_seq from unnest(p_flow, p_execution) e(flow, execution)
    where coalesce(e.flow, e.execution) is not null;
  return v_seq;
end $$;
