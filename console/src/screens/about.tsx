/** What is this, and who am I here? */

import { duration } from "../format";
import { useQuery } from "../live";
import { call, methods, whoAmI } from "../rpc";
import type { SystemView } from "../types";
import { setTheme, theme } from "../theme";
import { Facts, Failure, Head, Json } from "../ui";
import { inUtc, setUtc } from "../zone";

export function About() {
  const info = useQuery("about", () => call<SystemView>("system.info"));
  const who = whoAmI.value;
  return (
    <>
      <Head title="About" />
      <Failure error={info.error} retry={info.reload} />
      <section aria-labelledby="me">
        <h2 id="me">You</h2>
        <p>
          {who.principal
            ? `You are signed in as ${who.principal} (token of kind ${who.kind}).`
            : "The manager has no tokens: everyone on this machine has all rights."}
        </p>
        <details class="card">
          <summary>Your rights: {methods.value.size} methods</summary>
          <ul class="ids columns">
            {[...methods.value].sort().map((name) => (
              <li key={name}>{name}</li>
            ))}
          </ul>
          <Json value={who} label="your token" />
        </details>
        <label class="field narrow">
          <span>Theme</span>
          <select value={theme.value} onChange={(event) => setTheme(event.currentTarget.value)}>
            <option value="">system</option>
            <option value="light">light</option>
            <option value="dark">dark</option>
          </select>
        </label>
        <label class="field narrow">
          <span>Times</span>
          <select value={inUtc() ? "UTC" : ""} onChange={(event) => setUtc(event.currentTarget.value === "UTC")}>
            <option value="">time zone of the browser</option>
            <option value="UTC">UTC</option>
          </select>
        </label>
      </section>
      {info.data ? (
        <section aria-labelledby="manager">
          <h2 id="manager">The manager</h2>
          <Facts
            facts={[
              ["Version", info.data.version],
              ["Manager", info.data.manager_id],
              ["Store", info.data.store],
              ["Uptime", duration(Number(info.data.now) - Number(info.data.up_since))],
            ]}
          />
          <details class="card">
            <summary>Limits</summary>
            <Json value={info.data.limits} label="the limits" />
          </details>
          <p>
            <a href="openrpc.json">openrpc.json</a>, <a href="metrics">metrics</a>, <a href="healthz">healthz</a>,{" "}
            <a href="readyz">readyz</a>
          </p>
        </section>
      ) : null}
    </>
  );
}
