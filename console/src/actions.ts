/** What an operator can do with a task in each status (the table in docs/concepts.md). */

import { call, may } from "./rpc";
import type { ListedTask, Status, Task } from "./types";

export type Action = "reset" | "run_now" | "suspend" | "resume" | "cancel" | "delete";

interface Rule {
  title: string;
  /** What the action will do. */
  effect: string;
  done: string;
  danger: boolean;
  refusal: (task: ListedTask) => string | null;
}

const ENDED: Status[] = ["FINISHED", "FAILED"];

function ended(task: ListedTask): string | null {
  return ENDED.includes(task.status) ? "The run has ended." : null;
}

function betweenFires(task: ListedTask): boolean {
  const scheduled = task.cron !== null || task.every !== null;
  return task.status === "IDLE" && scheduled && task.status_reason !== "retry";
}

export const ACTIONS: Record<Action, Rule> = {
  reset: {
    title: "Restart",
    effect: "A new run begins at the first stage. Results and errors of the current run stay in the history.",
    done: "A new run begins",
    danger: false,
    refusal: () => null,
  },
  run_now: {
    title: "Run now",
    effect: "The task becomes due now. Its schedule does not change.",
    done: "The task is due now",
    danger: false,
    refusal: (task) =>
      ["EXECUTED", "WAITING"].includes(task.status)
        ? "A run is open."
        : task.status === "SUSPENDED"
          ? "The task is suspended: resume it first."
          : null,
  },
  suspend: {
    title: "Suspend",
    effect: "The task is held until it is resumed. A running stage is stopped, and runs again after that.",
    done: "The task is suspended",
    danger: false,
    refusal: (task) => ended(task) ?? (task.status === "SUSPENDED" ? "The task is already suspended." : null),
  },
  resume: {
    title: "Resume",
    effect: "The task continues where it was suspended.",
    done: "The task continues",
    danger: false,
    refusal: (task) => (task.status === "SUSPENDED" ? null : "The task is not suspended."),
  },
  cancel: {
    title: "Cancel",
    effect: "The run ends as FAILED with exit code 130. A running stage is stopped.",
    done: "The run is cancelled",
    danger: true,
    refusal: (task) => ended(task) ?? (betweenFires(task) ? "No run is open: the next one has not started." : null),
  },
  delete: {
    title: "Delete",
    effect: "The task and its history are removed. This cannot be undone.",
    done: "The task is deleted",
    danger: true,
    refusal: () => null,
  },
};

/** The method of each action; its only parameters are the id and a reason. */
export const METHODS: Record<Action, string> = {
  reset: "tasks.reset",
  run_now: "tasks.run_now",
  suspend: "tasks.suspend",
  resume: "tasks.resume",
  cancel: "tasks.cancel",
  delete: "tasks.delete",
};

const NO_RIGHT = "Your token does not allow this.";

/** Why an action is not possible; null if it is. */
export function refusal(action: Action, task: ListedTask): string | null {
  return (may(METHODS[action]) ? null : NO_RIGHT) ?? ACTIONS[action].refusal(task);
}

export function perform(action: Action, id: string, reason: string | null): Promise<Task> {
  return call<Task>(METHODS[action], { id, reason });
}
export { NO_RIGHT };
