/** Who did that? */

import { plural } from "../format";
import { Needs, Pages, usePages } from "../pages";
import type { AuditRecord } from "../types";
import { Empty, Failure, Head, Json, Table, TaskLink, When } from "../ui";

export const Audit = () => (
  <Needs method="audit.list" title="Audit">
    {() => <AuditList />}
  </Needs>
);

function AuditList() {
  const list = usePages<AuditRecord>("audit.list", {}, () => true);
  return (
    <>
      <Head title="Audit" />
      <p class="muted">{list.data ? plural(list.data.count, "action") : ""}</p>
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? <Empty title="No audit records." /> : null}
      {list.data?.data.length ? (
        <Table label="Audit">
          <thead>
            <tr>
              <th>When</th>
              <th>Who</th>
              <th>Action</th>
              <th>Target</th>
              <th>Details</th>
            </tr>
          </thead>
          <tbody>
            {list.data.data.map((one) => (
              <tr key={one.id}>
                <td class="nowrap">
                  <When at={one.at} />
                </td>
                <td>
                  {one.user_id ?? "–"}
                  <span class="line">{one.remote}</span>
                </td>
                <td>{one.action}</td>
                <td class="what">
                  {one.target !== null && one.action.startsWith("tasks.") ? (
                    <TaskLink id={one.target} />
                  ) : (
                    <span class="id">{one.target ?? "–"}</span>
                  )}
                </td>
                <td>
                  <details>
                    <summary aria-label={`Details of ${one.action}`}>Details</summary>
                    <Json value={one.data} label={`details of ${one.action}`} />
                  </details>
                </td>
              </tr>
            ))}
          </tbody>
        </Table>
      ) : null}
      <Pages cursor={list.data?.cursor} />
    </>
  );
}
