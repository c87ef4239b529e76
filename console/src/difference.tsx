/** Two JSON values line by line. */

import { excerpt, lineDiff } from "./diff";
import { format } from "./json";

const AROUND = 2;
const MARKS = { same: " ", gone: "−", new: "+" };

export function Difference({ before, after, label }: { before: unknown; after: unknown; label: string }) {
  const lines = excerpt(lineDiff(format(before, 2), format(after, 2)), AROUND);
  return (
    <pre class="difference" tabIndex={0} role="group" aria-label={label}>
      {lines.map((line, at) =>
        line === null ? (
          <span key={at} class="muted">
            {"…\n"}
          </span>
        ) : (
          <span key={at} class={`line-${line.kind}`}>
            {`${MARKS[line.kind]} ${line.text}\n`}
          </span>
        ),
      )}
    </pre>
  );
}
