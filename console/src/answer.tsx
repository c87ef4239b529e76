/** The form for the message that a task waits for. */

import { useId, useState } from "preact/hooks";
import { NO_RIGHT } from "./actions";
import { parse } from "./json";
import { call, may } from "./rpc";
import type { Task } from "./types";
import { attempt, When } from "./ui";

type Waiting = Pick<Task, "id" | "status" | "status_reason" | "commands" | "stage" | "wait_deadline" | "job_id">;

/** The name of the message that a task waits for; undefined if it does not wait for one. */
export function awaited(task: Waiting): string | null | undefined {
  const command = task.commands[task.stage];
  if (task.status !== "WAITING" || task.status_reason !== "message" || !command) return undefined;
  return typeof command.params?.name === "string" ? command.params.name : null;
}

export function Answer({ task, reload }: { task: Waiting; reload: () => void }) {
  const [text, setText] = useState("");
  const [plain, setPlain] = useState(true);
  const [titleId, problemId] = [useId(), useId()];
  const name = awaited(task);
  if (name === undefined) return null;
  const problem = plain ? null : problemOf(text);

  async function send(): Promise<void> {
    const data = plain ? text : parse(text);
    const sent = await attempt(async () => {
      const receipt = await call<{ state: string; reason: string | null }>("tasks.message", {
        id: task.id,
        data,
        name,
        job_id: task.job_id,
      });
      return receipt.reason ? `The message was ${receipt.state}: ${receipt.reason}` : `The message was ${receipt.state}.`;
    });
    if (sent) setText("");
    reload();
  }

  return (
    <section class="card ask" aria-labelledby={titleId}>
      <h2 id={titleId}>Waiting for {name === null ? "a message" : `the message “${name}”`}</h2>
      {task.wait_deadline === null ? null : (
        <p>
          The time is over <When at={task.wait_deadline} />
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (problem === null) void send();
        }}
      >
        <label class="field">
          <span>Message</span>
          <textarea
            rows={3}
            value={text}
            aria-invalid={problem !== null}
            aria-describedby={problemId}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <p id={problemId} class="bad-text">
          {text === "" ? "" : problem}
        </p>
        <div class="row wrap">
          <label class="row">
            <input type="checkbox" checked={!plain} onChange={() => setPlain(!plain)} />
            as JSON
          </label>
          <button
            type="submit"
            class="primary"
            disabled={problem !== null || !may("tasks.message")}
            title={may("tasks.message") ? undefined : NO_RIGHT}
          >
            Send the message
          </button>
        </div>
      </form>
    </section>
  );
}

function problemOf(text: string): string | null {
  try {
    parse(text);
    return null;
  } catch (error) {
    return (error as SyntaxError).message;
  }
}
