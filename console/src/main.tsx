/** The shell: navigation, signing in, and the screen that the address names. */

import { render } from "preact";
import { useState } from "preact/hooks";
import { startClock } from "./format";
import { go, screen, startRouter, url } from "./router";
import { call, learn, reachable, RpcError, signedIn, signIn, signOut, whoAmI } from "./rpc";
import { About } from "./screens/about";
import { Audit } from "./screens/audit";
import { Bulk } from "./screens/bulk";
import { Palette, startKeys } from "./palette";
import { Commands } from "./screens/commands";
import { Create } from "./screens/create";
import { Edit } from "./screens/edit";
import { Executors } from "./screens/executors";
import { Notifications } from "./screens/notifications";
import { Pauses } from "./screens/pauses";
import { Runs } from "./screens/runs";
import { Schedules } from "./screens/schedules";
import { Streams } from "./screens/streams";
import { Overview } from "./screens/overview";
import { Task } from "./screens/task";
import { Tasks } from "./screens/tasks";
import { Timeline } from "./screens/timeline";
import { Waiting } from "./screens/waiting";
import { link, setPaused, startLive } from "./socket";
import { startTheme } from "./theme";
import { attempt, Desk, Empty, Head } from "./ui";

interface Place {
  title: string;
  view: () => preact.JSX.Element;
}

const TASK: Place = { title: "Task", view: Task };
const EDIT: Place = { title: "Edit", view: Edit };
const GROUPS: [string, Record<string, Place>][] = [
  [
    "Work",
    {
      "": { title: "Overview", view: Overview },
      tasks: { title: "Tasks", view: Tasks },
      create: { title: "New task", view: Create },
      runs: { title: "Runs", view: Runs },
      timeline: { title: "Timeline", view: Timeline },
      waiting: { title: "Waiting for people", view: Waiting },
      schedules: { title: "Schedules", view: Schedules },
    },
  ],
  [
    "Fleet",
    {
      streams: { title: "Streams", view: Streams },
      executors: { title: "Executors", view: Executors },
      commands: { title: "Commands", view: Commands },
      pauses: { title: "Pauses", view: Pauses },
    },
  ],
  [
    "Record",
    {
      bulk: { title: "Bulk calls", view: Bulk },
      notifications: { title: "Notifications", view: Notifications },
      audit: { title: "Audit", view: Audit },
      about: { title: "About", view: About },
    },
  ],
];
const SCREENS: Record<string, Place> = Object.assign({ task: TASK, edit: EDIT }, ...GROUPS.map(([, places]) => places));

const LISTED = GROUPS.flatMap(([, places]) => Object.entries(places).map(([name, { title }]) => ({ name, title })));

const RETRY_MS = 2_000;

function App() {
  const [open, setOpen] = useState(false);
  if (signedIn.value === "no") return <SignIn />;
  return (
    <>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <Bar open={open} toggle={() => setOpen(!open)} />
      <Trouble />
      <Menu open={open} close={() => setOpen(false)} />
      <main id="main">{signedIn.value === "yes" ? <Screen /> : <p role="status">Connecting…</p>}</main>
      <Desk />
      <Palette screens={LISTED} find={find} />
    </>
  );
}

function Screen() {
  const found = SCREENS[screen.value];
  if (found) return <found.view key={screen.value} />;
  return (
    <>
      <Head title="Not found" />
      <Empty title="Page not found.">
        <a data-screen href={url("")}>
          Go to the overview
        </a>
      </Empty>
    </>
  );
}

function Menu({ open, close }: { open: boolean; close: () => void }) {
  const here = screen.value === "task" || screen.value === "edit" ? "tasks" : screen.value;
  return (
    <nav id="menu" aria-label="Screens" class={open ? "menu open" : "menu"} onClick={close}>
      {GROUPS.map(([group, places]) => (
        <div key={group} role="group" aria-label={group}>
          <span class="group" aria-hidden="true">
            {group}
          </span>
          {Object.entries(places).map(([name, one]) => (
            <a data-screen key={name} href={url(name)} aria-current={here === name ? "page" : undefined}>
              {one.title}
            </a>
          ))}
        </div>
      ))}
    </nav>
  );
}

function Bar({ open, toggle }: { open: boolean; toggle: () => void }) {
  return (
    <header class="bar">
      <a data-screen href={url("")} class="brand">
        kaiju_tasks
      </a>
      <button type="button" class="opens" aria-expanded={open} aria-controls="menu" onClick={toggle}>
        Menu
      </button>
      <Find />
      <div class="row state">
        <button
          type="button"
          class="quiet"
          aria-pressed={link.value === "paused"}
          title="While paused, this page sends no requests of its own."
          onClick={() => setPaused(link.value !== "paused")}
        >
          <span aria-hidden="true" class={`dot is-${link.value}`} />
          {link.value === "live" ? "Live" : link.value === "paused" ? "Paused" : "Connecting"}
        </button>
        {whoAmI.value.principal ? (
          <button type="button" class="quiet" onClick={() => void attempt(async () => (await signOut(), ""))}>
            Sign out {whoAmI.value.principal}
          </button>
        ) : null}
      </div>
    </header>
  );
}

/** One box for the id of a task, a run or an executor, or for words of a description. */
function Find() {
  return (
    <form
      role="search"
      aria-label="Find"
      class="find"
      onSubmit={(event) => {
        event.preventDefault();
        const form = event.currentTarget;
        const text = String(new FormData(form).get("text")).trim();
        if (!text) return;
        form.reset();
        void find(text);
      }}
    >
      <input name="text" type="search" aria-label="Find by id or words" placeholder="Id or words" autocomplete="off" />
    </form>
  );
}

/** Go to what an id stands for, or to the tasks whose description has these words. */
async function find(text: string): Promise<void> {
  await attempt(async () => {
    go((await placeOf(text)) ?? url("tasks", { q: text }));
    return "";
  });
}

async function placeOf(text: string): Promise<string | null> {
  if (text.length <= 255) {
    const columns = ["id"];
    for (const name of ["id", "job_id", "executor_id", "group_id"]) {
      const found = await call<{ data: { id: string }[] }>("tasks.list", {
        conditions: { [name]: text },
        columns,
        limit: 2,
      });
      const [first, second] = found.data;
      if (first && !second) return url("task", { id: first.id });
      if (first) return url("tasks", { q: text, in: name });
    }
  }
  return null;
}

function Trouble() {
  if (reachable.value) return null;
  return (
    <div class="notice bad strip-notice" role="alert">
      The manager cannot be reached. This page may be out of date; it reconnects automatically.
    </div>
  );
}

function SignIn() {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  async function enter(form: HTMLFormElement): Promise<void> {
    setBusy(true);
    try {
      await signIn(String(new FormData(form).get("token")).trim());
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      setProblem(error.code === 401 ? "This token is not valid." : error.message);
    } finally {
      setBusy(false);
    }
  }
  return (
    <main class="sign-in" id="main">
      <Head title="Sign in" />
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void enter(event.currentTarget);
        }}
      >
        <label class="field">
          <span>Token</span>
          <input name="token" type="password" required autocomplete="current-password" aria-describedby="problem" />
        </label>
        <p id="problem" class="bad-text" role="alert">
          {problem}
        </p>
        <button type="submit" class="primary" disabled={busy}>
          Sign in
        </button>
        <p class="muted">
          An administrator makes a token with <code>kaiju-tasks token create</code>.
        </p>
      </form>
    </main>
  );
}

/** Learn who this is; again until the manager answers. */
async function begin(): Promise<void> {
  try {
    await learn();
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    if (signedIn.value === "unknown") setTimeout(() => void begin(), RETRY_MS);
  }
}

startTheme();
startRouter();
startClock();
startLive();
startKeys();
void begin();
const root = document.getElementById("app");
if (root) render(<App />, root);
