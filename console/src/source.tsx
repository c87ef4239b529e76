/** The task that is being made or edited, as text: JSON to change, or YAML to copy. */

import { signal } from "@preact/signals";
import { data, problem, text, write } from "./draft";
import { Copy } from "./ui";
import { yaml } from "./yaml";

const shown = signal<"JSON" | "YAML">("JSON");

export function Source() {
  return (
    <>
      <div class="segmented" role="group" aria-label="Language of the text">
        {(["JSON", "YAML"] as const).map((one) => (
          <button type="button" key={one} aria-pressed={shown.value === one} onClick={() => (shown.value = one)}>
            {one}
          </button>
        ))}
      </div>
      {shown.value === "JSON" ? (
        <textarea
          aria-label="The task as JSON"
          aria-invalid={problem.value !== null}
          spellcheck={false}
          rows={20}
          value={text.value}
          onInput={(event) => write(event.currentTarget.value)}
        />
      ) : data.value ? (
        <Yaml text={`${yaml(data.value)}\n`} />
      ) : null}
      {problem.value ? <p class="bad-text">{problem.value}</p> : null}
    </>
  );
}

function Yaml({ text: written }: { text: string }) {
  return (
    <div class="json">
      <pre tabIndex={0} role="group" aria-label="The task as YAML">
        {written}
      </pre>
      <div class="row wrap end">
        <span class="muted">
          A file for <code>kaiju-tasks task create FILE</code>. To change the task, use the form or the JSON.
        </span>
        <Copy text={written} what="the task as YAML" />
      </div>
    </div>
  );
}
