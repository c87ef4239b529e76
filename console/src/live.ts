/** Events of the manager over the one WebSocket of this page, and queries that follow them. */

import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { base, learn, reachable, RpcError, signedIn } from "./rpc";

export interface TaskEvent {
  event: string;
  id: string;
  app_name: string;
  status: string;
}

type Listener = (event: TaskEvent | null) => void;

/** `paused`: nothing is sent until somebody switches it on again. */
export const link = signal<"connecting" | "live" | "paused">("connecting");

const TOKEN_ENDED = 4401;
const LONGEST_PAUSE_MS = 5_000;
const QUERY_PAUSE_MS = 1_000;

const listeners = new Set<Listener>();
let socket: WebSocket | null = null;
let retry: number | undefined;
let failures = 0;

/** Keep a connection while the page is visible, not paused and signed in. */
export function startLive(): void {
  document.addEventListener("visibilitychange", follow);
  signedIn.subscribe(follow);
}

export function setPaused(paused: boolean): void {
  link.value = paused ? "paused" : "connecting";
  follow();
}

function follow(): void {
  const wanted = !document.hidden && link.value !== "paused" && signedIn.value === "yes";
  if (!wanted) {
    window.clearTimeout(retry);
    socket?.close();
    socket = null;
    if (link.value !== "paused") link.value = "connecting";
  } else if (socket === null) {
    open();
  }
}

function open(): void {
  window.clearTimeout(retry);
  const url = new URL(`${base}rpc`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(url);
  socket = opened;
  opened.onopen = () =>
    opened.send('{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":{}}');
  opened.onmessage = (message) => {
    if (socket === opened) take(JSON.parse(String(message.data)));
  };
  opened.onclose = (closed) => {
    if (socket !== opened) return;
    socket = null;
    if (link.value !== "paused") link.value = "connecting";
    if (closed.code === TOKEN_ENDED) signedIn.value = "no";
    else again();
  };
}

function take(frame: { id?: number; method?: string; params?: TaskEvent }): void {
  if (frame.id === 1) {
    failures = 0;
    reachable.value = true;
    if (link.value !== "paused") link.value = "live";
    notify(null); // what happened meanwhile is not known
  } else if (frame.method === "events.dropped") {
    socket?.close();
  } else if (frame.method?.startsWith("task.") && frame.params) {
    notify(frame.params);
  } else if (frame.method === "events.lost") {
    notify(null);
  }
}

function notify(event: TaskEvent | null): void {
  for (const listener of listeners) listener(event);
}

/** Connect again; before that, ask whether the manager still admits this browser. */
function again(): void {
  failures += 1;
  const pause = Math.min(LONGEST_PAUSE_MS, 250 * 2 ** Math.min(failures, 6));
  retry = window.setTimeout(() => {
    learn()
      .catch((error: unknown) => {
        if (!(error instanceof RpcError)) throw error;
      })
      .finally(() => {
        if (!document.hidden && signedIn.value === "yes" && link.value !== "paused") open();
      });
  }, pause);
}

export interface Query<T> {
  data: T | undefined;
  error: RpcError | undefined;
  busy: boolean;
  reload: () => void;
}

/** Ask the manager, and ask again when something has changed, at most once a second.
 *
 * @param key - what is asked; the answer to another key is never shown
 * @param follows - which events change the answer; null stands for events that were lost
 * @param every - seconds after which it is asked again although no event came
 */
export function useQuery<T>(
  key: string,
  ask: () => Promise<T>,
  follows: (event: TaskEvent) => boolean = () => false,
  every?: number,
): Query<T> {
  const [state, setState] = useState<{ key: string; data?: T; error?: RpcError; busy: boolean }>({
    key,
    busy: true,
  });
  const latest = useRef({ ask, follows, key });
  latest.current = { ask, follows, key };
  const reload = useRef<() => void>(() => {});

  useEffect(() => {
    let over = false;
    let running = false;
    let dirty = false;
    let timer: number | undefined;

    async function run(): Promise<void> {
      if (running) {
        dirty = true;
        return;
      }
      running = true;
      dirty = false;
      setState((old) => ({ ...(old.key === key ? old : { key }), busy: true }));
      try {
        const data = await latest.current.ask();
        if (!over) setState({ key, data, busy: false });
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        if (!over) setState((old) => ({ ...old, key, error, busy: false }));
      } finally {
        running = false;
        if (dirty && !over) soon();
      }
    }

    function soon(): void {
      timer ??= window.setTimeout(() => {
        timer = undefined;
        if (link.value === "live") void run(); // otherwise it is asked when the link is live again
      }, QUERY_PAUSE_MS);
    }

    function listen(event: TaskEvent | null): void {
      if (event === null || latest.current.follows(event)) soon();
    }

    reload.current = () => void run();
    listeners.add(listen);
    const interval =
      every === undefined
        ? undefined
        : window.setInterval(() => {
            if (link.value === "live" && !document.hidden) void run();
          }, every * 1000);
    void run();
    return () => {
      over = true;
      listeners.delete(listen);
      window.clearTimeout(timer);
      window.clearInterval(interval);
    };
  }, [key]);

  const fresh = state.key === key;
  return {
    data: fresh ? state.data : undefined,
    error: fresh ? state.error : undefined,
    busy: !fresh || state.busy,
    reload: () => reload.current(),
  };
}
