/** Actions on all tasks that match: what they would do, how many at a time, and whether they go on. */

import { ACTIONS, NO_RIGHT, type Action } from "./actions";
import { count, plural } from "./format";
import { go, url } from "./router";
import { call, may } from "./rpc";
import type { BulkResult, RefusalCount } from "./types";
import { attempt, confirm, say } from "./ui";

export type Conditions = Record<string, unknown>;

interface BulkAction {
  title: string;
  method: string;
  params: object;
  effect: string;
  danger: boolean;
}

const TYPED_FROM = 1_000;
const WAIT_SECONDS = 2;

function like(action: Action, method: string): BulkAction {
  const { title, effect, danger } = ACTIONS[action];
  return { title, method, params: {}, effect, danger };
}

export const BULK_ACTIONS: Record<string, BulkAction> = {
  restart_failed: {
    title: "Restart from the failed stage",
    method: "tasks.m_restart_from",
    params: { stage: "failed" },
    effect: "A new run begins at the stage that failed. The results of earlier stages are copied; those stages do not run again.",
    danger: false,
  },
  reset: like("reset", "tasks.m_reset"),
  run_now: like("run_now", "tasks.m_run_now"),
  suspend: like("suspend", "tasks.m_suspend"),
  resume: like("resume", "tasks.m_resume"),
  cancel: like("cancel", "tasks.m_cancel"),
  delete: like("delete", "tasks.m_delete"),
};

/** Why the caller cannot do this; null if it can. */
export function bulkRefusal(action: BulkAction): string | null {
  return may(action.method) ? null : NO_RIGHT;
}

/** Say what an action on many tasks would do, ask, and do it. Whether it has begun. */
export async function actOnAll(action: BulkAction, conditions: Conditions): Promise<boolean> {
  const would = await tried(action, conditions);
  if (would === undefined) return false;
  const number = would.matched - would.refused;
  if (number === 0) {
    say(`Nothing would change: ${would.refusals[0]?.message ?? "no task matches"}.`);
    return false;
  }
  const consent = await confirm({
    title: `${action.title}: ${plural(number, "task")}?`,
    action: `${action.title}: ${plural(number, "task")}`,
    danger: action.danger,
    typed: action.danger && number >= TYPED_FROM ? String(number) : undefined,
    why: true,
    paced: true,
    body: <Prospect effect={action.effect} would={would} number={number} />,
  });
  if (consent === null) return false;
  return attempt(async () => {
    const result = await call<BulkResult>(action.method, {
      ...action.params,
      ...consent,
      conditions,
      wait: WAIT_SECONDS,
    });
    if (result.state === "RUNNING" && result.bulk_id !== null) {
      go(url("bulk", { id: result.bulk_id }));
      return `${action.title}: continues in the manager, even if you close this page.`;
    }
    return `${action.title}: ${summary(result)}.`;
  });
}

async function tried(action: BulkAction, conditions: Conditions): Promise<BulkResult | undefined> {
  let would: BulkResult | undefined;
  await attempt(async () => {
    would = await call<BulkResult>(action.method, { ...action.params, conditions, dry_run: true });
    return "";
  });
  return would;
}

export function summary(result: { done: number; refused: number; refusals: RefusalCount[] }): string {
  const parts = [`${count(result.done)} done`];
  if (result.refused) parts.push(`${count(result.refused)} refused: ${result.refusals[0]?.message ?? ""}`);
  return parts.join(", ");
}

function Prospect({ effect, would, number }: { effect: string; would: BulkResult; number: number }) {
  return (
    <>
      <p>{effect}</p>
      {would.refused ? (
        <>
          <p>{plural(would.refused, "task")} would be refused:</p>
          <Refusals counts={would.refusals} />
        </>
      ) : null}
      <details>
        <summary>{number > would.sample.length ? `The first ${would.sample.length}` : "Ids"}</summary>
        <ul class="ids">
          {would.sample.map((id) => (
            <li key={id}>{id}</li>
          ))}
        </ul>
      </details>
    </>
  );
}

export function Refusals({ counts }: { counts: RefusalCount[] }) {
  return (
    <ul class="reasons">
      {counts.map((one, at) => (
        <li key={at}>
          {count(one.count)} {one.status ?? ""}: {one.message}
        </li>
      ))}
    </ul>
  );
}
