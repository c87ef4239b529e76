-- A manager of an earlier version, which does not know the number of a version, must not overwrite
-- one during a rolling upgrade. It writes a definition back without it: what it replaces is kept
-- here, and what it has changed is the next version.
CREATE FUNCTION definitions_keep_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- What clients do not set does not make a version.
    own constant text[] := ARRAY['id', 'created', 'delayed', 'slot_key', 'unique_key', 'user_id',
        'token_id', 'parent_id', 'root_id', 'depth', 'version', 'edit', 'run_edits',
        'declared'];
    moment constant double precision := extract(epoch FROM clock_timestamp());
    before jsonb;
    after jsonb;
    number integer;
    changed text[];
    edit text;
BEGIN
    after := replace(NEW.body, '\u0000', '\u0001')::jsonb;  -- jsonb has no such character
    IF after ? 'version' THEN
        RETURN NEW;
    END IF;
    before := replace(OLD.body, '\u0000', '\u0001')::jsonb;
    number := coalesce((before ->> 'version')::integer, 1);
    edit := before ->> 'edit';
    changed := ARRAY(
        SELECT key FROM jsonb_object_keys((before || after) - own) AS key
        WHERE before -> key IS DISTINCT FROM after -> key ORDER BY key COLLATE "C");
    IF cardinality(changed) > 0 THEN
        INSERT INTO versions (task_id, version, body, replaced_at)
        VALUES (OLD.task_id, number, OLD.body, moment) ON CONFLICT (task_id, version) DO NOTHING;
        number := number + 1;
        edit := json_build_object('at', moment, 'changed', changed)::text;
    END IF;
    IF number > 1 THEN
        NEW.body := left(NEW.body, -1) || ',"version":' || number || coalesce(',"edit":' || edit, '')
            || '}';
    END IF;
    RETURN NEW;
EXCEPTION WHEN data_exception THEN  -- a damaged definition
    RETURN NEW;
END
$$;
CREATE TRIGGER definitions_keep_version BEFORE UPDATE ON definitions
    FOR EACH ROW EXECUTE FUNCTION definitions_keep_version();
