"""What PostgreSQL itself must know: the functions that the engine's statements and triggers call.

The migrations carry the same text; a test holds the two equal.
"""

from typing import Final

from sqlalchemy import DDL, event

from sagacity.store import schema

REFUSED: Final = "SG001"
"""SQLSTATE of a batch that the gate refused."""

GUARDED: Final = "SG003"
"""SQLSTATE of a write to a row of a user's table that a saga has locked."""

FUNCTIONS: Final = (
    """CREATE OR REPLACE FUNCTION sagacity_refuse(losers text[], hint text) RETURNS boolean
LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION 'the batch was refused'
    USING ERRCODE = 'SG001', DETAIL = array_to_string(losers, ','), HINT = hint;
END $body$""",
    """CREATE OR REPLACE FUNCTION sagacity_holds(queue text[], saga text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $body$
SELECT EXISTS (
  SELECT 1 FROM unnest(queue) WITH ORDINALITY AS mine(entry, place)
  WHERE substr(mine.entry, 2, 36) = saga
    AND (mine.place = 1 OR mine.place < coalesce(
      (SELECT min(other.place) FROM unnest(queue) WITH ORDINALITY AS other(entry, place)
       WHERE left(other.entry, 1) = 'x'), mine.place + 1)))
$body$""",
    """CREATE OR REPLACE FUNCTION sagacity_guard() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  saga text := coalesce(current_setting('sagacity.saga', true), '');
  touched text[] := '{}';
  participant text;
  queued text[];
BEGIN
  IF TG_OP <> 'INSERT' THEN touched := touched || (to_jsonb(OLD) ->> TG_ARGV[3]); END IF;
  IF TG_OP <> 'DELETE' THEN touched := touched || (to_jsonb(NEW) ->> TG_ARGV[3]); END IF;
  IF current_setting('sagacity.admits', true) IS DISTINCT FROM 'on' THEN
    FOR participant, queued IN
      SELECT o.object, o.queue FROM unnest(touched) AS k(key)
      JOIN object AS o
        ON o.tenant = TG_ARGV[0] AND o.lane = TG_ARGV[1] AND o.object = TG_ARGV[2] || ':' || k.key
    LOOP
      IF cardinality(queued) > 0 AND NOT sagacity_holds(queued, saga) THEN
        RAISE EXCEPTION 'row % of table % is locked by saga %',
            substr(participant, length(TG_ARGV[2]) + 2), TG_TABLE_NAME, substr(queued[1], 2, 36)
          USING ERRCODE = 'SG003', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA,
            DETAIL = participant || ' is in transaction',
            HINT = 'Wait until the saga has ended (sagacity show ' || substr(queued[1], 2, 36)
              || '), or cancel it (sagacity cancel ' || substr(queued[1], 2, 36) || ').';
      END IF;
    END LOOP;
  END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  RETURN NEW;
END $body$""",
    # It runs with its owner's rights and looks only where the engine's tables are, whoever calls.
    """DO $do$ BEGIN
  EXECUTE format('ALTER FUNCTION sagacity_guard() SET search_path = %I, pg_temp', current_schema());
END $do$""",
)
"""One statement each.

`sagacity_refuse` ends a batch and names the losers. `sagacity_holds`: the saga is first in the queue
or in its leading shared run. `sagacity_guard` is the trigger that guards a user's table.
"""

for _statement in FUNCTIONS:
    _ddl = DDL(_statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
    event.listen(schema.metadata, "after_create", _ddl.execute_if(dialect="postgresql"))
