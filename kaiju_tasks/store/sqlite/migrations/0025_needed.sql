-- What needs an ended task: tasks that name it as their next one, and stages that wait for it.
CREATE INDEX definitions_next ON definitions (next_task) WHERE next_task IS NOT NULL;
CREATE INDEX children_named ON children (child_id) WHERE NOT made;
