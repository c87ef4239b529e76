/** What the stages of a run have logged and printed; new lines come by themselves. */

import { useEffect, useRef, useState } from "preact/hooks";
import { absolute, clockTime } from "./format";
import { format } from "./json";
import { useQuery } from "./live";
import { call } from "./rpc";
import type { Command, LogLine, LogPage } from "./types";
import { Failure } from "./ui";

const PAGE = 1000;
/** The most lines that are shown: the last ones. */
const MOST = 5000;
const NEAR = 24;

interface Kept {
  lines: LogLine[];
  cursor: string | null;
  dropped: number;
}

/** @param job - the run; give the component another key for another run
 * @param open - whether the run has not ended
 */
export function RunLog({ id, job, commands, open }: { id: string; job: string; commands: Command[]; open: boolean }) {
  const kept = useRef<Kept>({ lines: [], cursor: null, dropped: 0 });
  const [stage, setStage] = useState<number | null>(null);
  const [follows, setFollows] = useState(open);
  const box = useRef<HTMLDivElement>(null);
  const top = useRef(0);
  const log = useQuery(`log ${job}`, () => readOn(job, kept.current), id);
  const lines = log.data?.lines ?? [];
  const stages = [...new Set(lines.map((one) => one.stage))].sort((a, b) => a - b);
  const shown = stage === null ? lines : lines.filter((one) => one.stage === stage);

  useEffect(() => {
    if (follows && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [follows, log.data, stage]);

  /** Whoever scrolls up wants to read: new lines then come without moving the others. */
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
          {log.data?.dropped ? <p class="muted">{log.data.dropped} earlier lines are not shown.</p> : null}
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

/** Read the lines that follow those that are kept. */
async function readOn(job: string, kept: Kept): Promise<Kept> {
  for (;;) {
    const after = kept.cursor === null ? {} : { after: kept.cursor };
    const page = await call<LogPage>("logs.list", { job_id: job, limit: PAGE, ...after });
    if (page.data.length) {
      const lines = [...kept.lines, ...page.data];
      kept.dropped += Math.max(0, lines.length - MOST);
      kept.lines = lines.slice(-MOST);
      kept.cursor = page.cursor;
    }
    if (page.data.length < PAGE) return { ...kept };
  }
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
      {line.left_out ? <li class="log-gap">{line.left_out} lines were not kept.</li> : null}
      <li class={`log-line is-${line.level}`}>
        <time dateTime={new Date(at * 1000).toISOString()} title={absolute(at)}>
          {clockTime(at)}
        </time>
        <span class="log-level">{line.source === "output" ? "print" : line.level}</span>
        <span class="log-text">
          {line.message ?? <span class="muted">your token does not show the text</span>}
          {line.fields && Object.keys(line.fields).length ? (
            <span class="log-fields"> {format(line.fields)}</span>
          ) : null}
        </span>
      </li>
    </>
  );
}
