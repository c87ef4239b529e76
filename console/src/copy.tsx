/** A call of the manager for other places. */

import { useState } from "preact/hooks";
import { base, whoAmI } from "./rpc";
import { asCli, asCurl, asPython, type Call } from "./snippets";
import { Copy } from "./ui";

export function CopyAs(call: Call) {
  const [open, setOpen] = useState(false);
  return (
    <details class="copy-as" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Copy as curl, command line or Python</summary>
      {open ? <Texts {...call} /> : null}
    </details>
  );
}

function Texts({ method, params }: Call) {
  const url = location.origin + base;
  const token = Boolean(whoAmI.value.principal);
  const texts: [string, string | null][] = [
    ["curl", asCurl({ method, params }, url, token)],
    ["command line", asCli({ method, params })],
    ["Python", asPython({ method, params }, url, token)],
  ];
  return (
    <>
      {texts.map(([title, text]) =>
        text === null ? null : (
          <div key={title} class="json">
            <h3>{title}</h3>
            <pre tabIndex={0} role="group" aria-label={`The call for ${title}`}>
              {text}
            </pre>
            <div class="row end">
              <Copy text={text} what={`the call for ${title}`} />
            </div>
          </div>
        ),
      )}
    </>
  );
}
