/** What the stages of a run have logged and printed. New lines appear automatically. */

import { useEffect, useRef, useState } from "preact/hooks";
import { absolute, clockTime, plural } from "./format";
import { format } from "./json";
import { useQuery } from "./live";
import { NO_LINES, readOn } from "./loglines";
import { call } from "./rpc";
import { link } from "./socket";
import { AGAIN_MS } from "./tempo";
import type { Command, LogLine } from "./types";
import { Failure } from "./ui";

const PAGE = 1000;
const NEAR = 24;

/** @param job - the run; give the component another key for another run
 * @param open - whether the run has not ended
 */
export function RunLog({ id, job, commands, open }: { id: string; job: string; commands: Command[]; open: boolean }) {
  const kept = useRef({ ...NO_LINES });
  const [stage, setStage] = useState<number | null>(null);
  const [follows, setFollows] = useState(open);
  const box = useRef<HTMLDivElement>(null);
  const top = useRef(0);
  const log = useQuery(`log ${job}`, () => readOn(kept.current, open, (after) => call("logs.list", { job_id: job, limit: PAGE, ...after })), id);
  const lines = log.data?.lines ?? [];
  const stages = [...new Set(lines.map((one) => one.stage))].sort((a, b) => a - b);
  const shown = stage === null ? lines : lines.filter((one) => one.stage === stage);

  /** Read no more lines into those that are kept, and keep others. */
  function discard(): void {
    kept.current.over = true;
    kept.current = { ...NO_LINES };
  }

  useEffect(() => discard, []);
  useEffect(() => {
    if (!log.data?.more) return;
    const timer = setTimeout(() => {
      if (link.value !== "paused" && !document.hidden) log.reload(); // otherwise it is read when the link is live again
    }, AGAIN_MS.used);
    return () => clearTimeout(timer);
  }, [log.data]);
  useEffect(() => {
    if (open || kept.current.cursor === null) return;
    discard(); // lines of earlier attempts that came late stand before the cursor
    log.reload();
  }, [open]);
  useEffect(() => {
    if (follows && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [follows, log.data, stage]);

  /** Scrolling up stops following: new lines do not move the others then. */
  function scrolled(): void {
    const { current } = box;
    if (!current) return;
    const up = current.scrollTop < top.current;
    const atEnd = current.scrollHeight - current.scrollTop - current.clientHeight < NEAR;
    top.current = current.scrollTop;
    if (up && !atEnd && follows) setFollows(false);
  }

  if (log.data && lines.length === 0 && !open) return null;
  return (
    <section aria-labelledby="log">
      <div class="row wrap">
        <h2 id="log" class="grow">
          Log
        </h2>
        {stages.length > 1 ? (
          <label class="row">
            Stage
            <select
              value={stage === null ? "" : String(stage)}
              onChange={(event) => setStage(event.currentTarget.value === "" ? null : Number(event.currentTarget.value))}
            >
              <option value="">all</option>
              {stages.map((one) => (
                <option key={one} value={String(one)}>
                  {nameOf(commands, one)}
                </option>
              ))}
            </select>
          </label>
        ) : null}
        <label class="row">
          <input type="checkbox" checked={follows} onChange={(event) => setFollows(event.currentTarget.checked)} />
          Follow
        </label>
      </div>
      <Failure error={log.error} retry={log.reload} />
      {lines.length === 0 ? (
        <p class="muted">{log.data ? "No lines yet." : "Loading the log…"}</p>
      ) : (
        <div class="log" ref={box} tabIndex={0} role="group" aria-label="Log lines" onScroll={scrolled}>
          {log.data?.dropped ? <p class="muted">{plural(log.data.dropped, "earlier line is", "earlier lines are")} not shown.</p> : null}
          <ol>
            {shown.map((one, at) => (
              <Line key={`${one.cycle} ${one.stage} ${one.attempt} ${one.n}`} line={one} before={shown[at - 1]} commands={commands} />
            ))}
          </ol>
        </div>
      )}
    </section>
  );
}

function nameOf(commands: Command[], stage: number): string {
  const command = commands[stage];
  return `${stage + 1}. ${command?.name ?? command?.method ?? "stage"}`;
}

function Line({ line, before, commands }: { line: LogLine; before: LogLine | undefined; commands: Command[] }) {
  const first =
    before === undefined ||
    before.stage !== line.stage ||
    before.attempt !== line.attempt ||
    before.cycle !== line.cycle;
  const at = Number(line.at);
  return (
    <>
      {first ? (
        <li class="log-part">
          {nameOf(commands, line.stage)}
          {line.attempt > 1 ? `, attempt ${line.attempt}` : ""}
        </li>
      ) : null}
      {line.left_out ? <li class="log-gap">{plural(line.left_out, "line was", "lines were")} not kept.</li> : null}
      <li class={`log-line is-${line.level}`}>
        <time dateTime={new Date(at * 1000).toISOString()} title={absolute(at)}>
          {clockTime(at)}
        </time>
        <span class="log-level">{line.source === "output" ? "print" : line.level}</span>
        <span class="log-text">
          {line.message ?? <span class="muted">Your token does not allow you to see the text.</span>}
          {line.fields && Object.keys(line.fields).length ? (
            <span class="log-fields"> {format(line.fields)}</span>
          ) : null}
        </span>
      </li>
    </>
  );
}
