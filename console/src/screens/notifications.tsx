/** Which runs wanted to be noticed? */

import { NO_RIGHT } from "../actions";
import { Needs, Pages, usePages } from "../pages";
import { query, setQuery } from "../router";
import { call, may } from "../rpc";
import type { Notification } from "../types";
import { attempt, Button, Empty, Failure, Head, StatusChip, Table, TaskLink, When } from "../ui";

export const Notifications = () => (
  <Needs method="notifications.list" title="Notifications">
    {() => <NotificationList />}
  </Needs>
);

function NotificationList() {
  const all = query.value.get("all") === "1";
  const list = usePages<Notification>("notifications.list", { conditions: all ? {} : { enabled: true } }, () => true);

  async function set(one: Notification, enabled: boolean): Promise<void> {
    await attempt(async () => {
      await call("notifications.update", { id: one.id, data: { enabled } });
      return enabled ? "Restored." : "Dismissed.";
    });
    list.reload();
  }

  return (
    <>
      <Head title="Notifications" />
      <p>
        <label class="row">
          <input
            type="checkbox"
            checked={all}
            onChange={() => setQuery({ all: all ? null : "1", cursor: null })}
          />
          Show dismissed notifications
        </label>
      </p>
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? (
        <Empty title="There are no notifications.">A task with notify creates one when its run ends.</Empty>
      ) : null}
      {list.data?.data.length ? (
        <Table label="Notifications" heads={["Status", "Message", "When", "Actions"]}>
          {list.data.data.map((one) => (
            <tr key={one.id}>
              <td class="status">
                <StatusChip status={one.status} />
              </td>
              <td class="what">
                <TaskLink id={one.task_id} />
                <span class="line">{one.message}</span>
              </td>
              <td class="nowrap since">
                <When at={Date.parse(one.created) / 1000} />
              </td>
              <td class="full">
                <Button
                  label={`${one.enabled ? "Dismiss" : "Restore"} the notification of ${one.task_id}`}
                  refusal={may("notifications.update") ? null : NO_RIGHT}
                  onClick={() => void set(one, !one.enabled)}
                >
                  {one.enabled ? "Dismiss" : "Restore"}
                </Button>
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
      <Pages cursor={list.data?.cursor} />
    </>
  );
}
