/** How the definition of a task was changed, by whom and why. */

import { useState } from "preact/hooks";
import { Difference } from "./difference";
import { useQuery } from "./live";
import { call } from "./rpc";
import { Failure, When } from "./ui";

interface Version {
  rev: number;
  at: number | null;
  user_id: string | null;
  changed: string[];
  reason: string | null;
  definition: Record<string, unknown>;
}

export function Versions({ id, rev }: { id: string; rev: number }) {
  const [open, setOpen] = useState(false);
  return (
    <details class="card part" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Versions of the definition: it is at version {rev}</summary>
      {open ? <List id={id} rev={rev} /> : null}
    </details>
  );
}

function List({ id, rev }: { id: string; rev: number }) {
  const list = useQuery(`versions ${id} ${rev}`, () => call<Version[]>("tasks.versions", { id }));
  const versions = list.data ?? [];
  return (
    <>
      <Failure error={list.error} retry={list.reload} />
      <ol class="tree">
        {versions.map((version, at) => {
          const before = versions[at + 1];
          return (
            <li key={String(version.rev)}>
              <details>
                <summary>
                  <span class="strong">Version {String(version.rev)}</span> <When at={version.at} />
                  {version.user_id ? ` by ${version.user_id}` : ""}
                  {version.changed.length ? <span class="muted"> · {version.changed.join(", ")}</span> : null}
                  {version.reason ? <span class="muted"> · {version.reason}</span> : null}
                </summary>
                <Difference
                  before={before?.definition ?? {}}
                  after={version.definition}
                  label={`Changes in version ${version.rev}`}
                />
              </details>
            </li>
          );
        })}
      </ol>
    </>
  );
}
