/** Who did that? */

import { conditionOf } from "../filters";
import { plural } from "../format";
import { Needs, Pages, usePages } from "../pages";
import { query, setQuery } from "../router";
import type { AuditRecord } from "../types";
import { Details, Empty, Failure, Head, Table, TaskLink, When } from "../ui";
import { Word } from "../word";

export const Audit = () => (
  <Needs method="audit.list" title="Audit">
    {() => <AuditList />}
  </Needs>
);

/** What can be filtered by, and what it is called. */
const FIELDS: Record<string, string> = { user_id: "Who", action: "Action, such as tasks.reset or tasks.%", target: "Target" };

function auditConditions(params: URLSearchParams): Record<string, unknown> {
  const given = Object.keys(FIELDS).map((name): [string, string] => [name, params.get(name) ?? ""]);
  return Object.fromEntries(given.filter(([, text]) => text !== "").map(([name, text]) => [name, conditionOf(text)]));
}

function Filters() {
  return (
    <form
      class="row wrap bottom"
      role="search"
      aria-label="Filter the audit"
      onSubmit={(event) => {
        event.preventDefault();
        const form = new FormData(event.currentTarget);
        const given = Object.keys(FIELDS).map((name) => [name, String(form.get(name)).trim()]);
        setQuery({ ...Object.fromEntries(given), cursor: null });
      }}
    >
      {Object.entries(FIELDS).map(([name, title]) => (
        <Word key={name} name={name} title={title} />
      ))}
      <button type="submit">Filter</button>
    </form>
  );
}

function AuditList() {
  const conditions = auditConditions(query.value);
  const list = usePages<AuditRecord>("audit.list", { conditions }, () => true);
  return (
    <>
      <Head title="Audit" />
      <p class="muted">{list.data ? plural(list.data.count, "action") : ""}</p>
      <Filters />
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? <Empty title={Object.keys(conditions).length ? "No action matches these filters." : "There are no audit records."} /> : null}
      {list.data?.data.length ? (
        <Table label="Audit" heads={["When", "Action", "Target", "Who"]}>
          {list.data.data.map((one) => (
            <tr key={one.id}>
              <td class="status">
                <When at={one.at} />
              </td>
              <td>
                {one.action}
              </td>
              <td class="what">
                {one.target !== null && one.action.startsWith("tasks.") ? (
                  <TaskLink id={one.target} />
                ) : (
                  <span class="id">{one.target ?? "–"}</span>
                )}
                <Details record={one} />
              </td>
              <td>
                {one.user_id ?? "–"}
                <span class="line">{one.remote}</span>
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
      <Pages cursor={list.data?.cursor} />
    </>
  );
}
