/** Queries that follow the events of the manager. */

import { useEffect, useRef, useState } from "preact/hooks";
import { RpcError } from "./rpc";
import { follow as followEvents, isCovered, link, willBeCovered, type Follower, type Follows } from "./socket";
import { AGAIN_MS, isDue, rate } from "./tempo";

export interface Query<T> {
  data: T | undefined;
  error: RpcError | undefined;
  reload: () => void;
}

/** The longest time for which a first question waits for the events that would change its answer. */
const COVER_MS = 500;

/** Ask the manager, and ask again when something has changed, at most once a second.
 *
 * @param key - what is asked; the answer to another key is never shown
 * @param follows - which events change the answer: those of a task, those for which it is true, or none
 * @param every - seconds after which it is asked again although no event came
 */
export function useQuery<T>(
  key: string,
  ask: () => Promise<T>,
  follows?: Follows,
  every?: number,
): Query<T> {
  const [state, setState] = useState<{ key: string; data?: T; error?: RpcError }>({ key });
  const latest = useRef({ ask, follows });
  latest.current = { ask, follows };
  const reload = useRef<() => void>(() => {});

  useEffect(() => {
    let over = false;
    let running = false;
    let asked = false;
    let dirty: number | undefined; // after how long to ask again, because something changed meanwhile
    let turn = 0;
    let timer: number | undefined;
    let due = 0;
    let wait: number | undefined;

    async function run(): Promise<void> {
      window.clearTimeout(timer);
      timer = undefined;
      if (running) {
        dirty = AGAIN_MS.used;
        return;
      }
      running = asked = true;
      dirty = undefined;
      try {
        const data = await latest.current.ask();
        if (!over) setState({ key, data });
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        if (!over) setState((old) => ({ ...(old.key === key ? old : {}), key, error }));
      } finally {
        running = false;
        if (dirty !== undefined && !over) soon(dirty);
      }
    }

    function begin(): void {
      window.clearTimeout(wait);
      if (!asked) void run();
    }

    function soon(pause = AGAIN_MS.used): void {
      const at = performance.now() + pause;
      if (timer !== undefined && due <= at) return;
      window.clearTimeout(timer);
      due = at;
      timer = window.setTimeout(again, pause);
    }

    function again(): void {
      timer = undefined;
      if (link.value === "live") void run(); // otherwise it is asked when the link is live again
    }

    function changed(pause = AGAIN_MS.used): void {
      if (running) dirty = Math.min(pause, dirty ?? pause);
      else if (asked) soon(pause);
    }

    const follower: Follower = {
      get of() {
        return latest.current.follows;
      },
      take: (event) => changed(event === null || typeof follower.of === "string" ? undefined : rate(AGAIN_MS)),
      covered: () => (asked ? changed() : begin()),
      calm: () => {
        window.clearTimeout(timer);
        timer = undefined;
        dirty = undefined;
      },
      hurry: () => {
        if (timer === undefined) return;
        window.clearTimeout(timer);
        again();
      },
    };

    reload.current = () => void run();
    const leave = followEvents(follower);
    const interval =
      every === undefined
        ? undefined
        : window.setInterval(() => {
            turn += 1;
            if (link.value === "live" && !document.hidden && isDue(turn)) void run();
          }, every * 1000);
    if (isCovered(follower) || !willBeCovered(follower)) begin();
    else wait = window.setTimeout(begin, COVER_MS);
    return () => {
      over = true;
      leave();
      window.clearTimeout(timer);
      window.clearTimeout(wait);
      window.clearInterval(interval);
    };
  }, [key]);

  const fresh = state.key === key;
  return {
    data: fresh ? state.data : undefined,
    error: fresh ? state.error : undefined,
    reload: () => reload.current(),
  };
}
