/** The one WebSocket of this page, and the events that come over it. */

import { signal } from "@preact/signals";
import { base, learn, may, reachable, RpcError, signedIn } from "./rpc";
import { CALM_MS, FLOOD, isUsed, rate, startTempo } from "./tempo";

export interface TaskEvent {
  event: string;
  id: string;
  app_name: string;
  status: string;
  parent_id?: string | null;
}

/** Who wants to know of events. */
export interface Follower {
  /** Events of this task, events of any task for which it is true, or none. */
  readonly of: Follows;
  /** Something has happened. null: it is not known what. */
  take: (event: TaskEvent | null) => void;
  /** No event can be missed from now on. It was not so before. */
  covered: () => void;
  /** More events came than the page listens to: `covered` comes later, whatever happens until then. */
  calm: () => void;
  /** The page is used again. */
  hurry: () => void;
}

export type Follows = string | ((event: TaskEvent) => boolean) | undefined;

/** `paused`: nothing is sent until somebody switches it on again. */
export const link = signal<"connecting" | "live" | "paused">("connecting");

const TOKEN_ENDED = 4401;
const LONGEST_PAUSE_MS = 5_000;
const SECOND_MS = 1_000;
/** Errors that may not come again: too many subscriptions, no database, a fault. */
const PASSING = [429, 503, -32603];
/** After so many of them, the page does without events until a subscription is admitted. */
const FEW = 3;
/** A page that nobody uses subscribes again after a pause so many times as long. */
const UNUSED = 6;

/** What is subscribed to: all tasks, or these. */
type Wanted = "all" | readonly string[];

const followers = new Set<Follower>();
let socket: WebSocket | null = null;
let retry: number | undefined;
let failures = 0;
let refusals = 0;
let refused: number | undefined;
let broken = false;

/** What was asked for last, and what is there. */
let asked: Wanted = [];
let held: { wanted: Wanted; subscription: string } | null = null;
let numbers = 0;
const answers = new Map<number, (result: unknown, error?: { code: number }) => void>();

let calm: number | undefined;
let counted = 0;
let countedFrom = 0;

/** Keep a connection while the page is visible, not paused and signed in. */
export function startLive(): void {
  document.addEventListener("visibilitychange", connect);
  signedIn.subscribe(connect);
  startTempo(() => {
    listenAgain();
    for (const one of followers) one.hurry();
  });
}

export function setPaused(paused: boolean): void {
  link.value = paused ? "paused" : "connecting";
  connect();
}

/** Follow events until the returned function is called. */
export function follow(one: Follower): () => void {
  followers.add(one);
  queueMicrotask(subscribe);
  return () => {
    followers.delete(one);
    queueMicrotask(subscribe);
  };
}

/** Whether no event is missed that the follower wants. */
export function isCovered({ of }: Follower): boolean {
  if (of === undefined) return true;
  if (held === null || link.value !== "live") return false;
  return held.wanted === "all" || (typeof of === "string" && held.wanted.includes(of));
}

function mayListen(): boolean {
  return may("events.subscribe");
}

/** Whether it is worth to wait until no event is missed. */
export function willBeCovered({ of }: Follower): boolean {
  if (!mayListen() || refusals >= FEW) return false;
  return link.value === "live" ? typeof of === "string" || calm === undefined : link.value === "connecting" && !broken;
}

function connect(): void {
  const wanted = !document.hidden && link.value !== "paused" && signedIn.value === "yes";
  if (!wanted) {
    window.clearTimeout(retry);
    const open = socket;
    lose();
    open?.close();
  } else if (socket === null) {
    open();
  }
}

function lose(): void {
  if (socket !== null) broken = true;
  socket = null;
  held = null;
  asked = [];
  answers.clear();
  window.clearTimeout(refused);
  window.clearTimeout(calm);
  calm = undefined;
  if (link.value !== "paused") link.value = "connecting";
}

function open(): void {
  window.clearTimeout(retry);
  const url = new URL(`${base}rpc`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(url);
  socket = opened;
  opened.onopen = () => {
    if (socket === opened) subscribe();
  };
  opened.onmessage = (message) => {
    if (socket === opened) take(JSON.parse(String(message.data)));
  };
  opened.onclose = (closed) => {
    if (socket !== opened) return;
    lose();
    if (closed.code === TOKEN_ENDED) signedIn.value = "no";
    else again();
  };
}

function isLive(): void {
  failures = 0;
  reachable.value = true;
  if (link.value === "live") return;
  if (link.value !== "paused") link.value = "live";
  if (!broken) return;
  for (const one of [...followers]) if (one.of === undefined || !mayListen()) one.take(null); // it may have failed meanwhile
}

function whatIsWanted(): Wanted {
  const ids = new Set<string>();
  if (!mayListen()) return [];
  for (const { of } of followers) {
    if (typeof of === "string") ids.add(of);
    else if (of !== undefined && calm === undefined) return "all";
  }
  return [...ids].sort();
}

function isSame(one: Wanted, other: Wanted): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Subscribe to what is wanted now; what was subscribed to before ends after that, so that nothing is missed. */
function subscribe(): void {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const wanted = whatIsWanted();
  if (wanted.length === 0 && link.value !== "live") isLive();
  if (isSame(wanted, asked)) return;
  asked = wanted;
  if (wanted.length === 0) {
    drop();
    return;
  }
  send("events.subscribe", wanted === "all" ? {} : { conditions: { id: wanted } }, (result, error) => {
    if (error) {
      if (!PASSING.includes(error.code)) isLive(); // without events
      else if (isSame(wanted, asked)) refuse();
      return;
    }
    refusals = 0;
    const { subscription } = result as { subscription: string };
    if (!isSame(wanted, asked)) {
      send("events.unsubscribe", { subscription });
      return;
    }
    const before = [...followers].filter((one) => one.of !== undefined && isCovered(one));
    drop();
    held = { wanted, subscription };
    isLive();
    for (const one of [...followers]) if (one.of !== undefined && isCovered(one) && !before.includes(one)) one.covered();
  });
}

/** Subscribe again after a while; there may be a place only if what was subscribed to before ends. */
function refuse(): void {
  drop();
  asked = [];
  refusals += 1;
  window.clearTimeout(refused);
  refused = window.setTimeout(subscribe, pauseAfter(refusals) * (isUsed() ? 1 : UNUSED));
  if (refusals < FEW) return;
  isLive();
  for (const one of [...followers]) if (one.of !== undefined) one.take(null);
}

function drop(): void {
  if (held) send("events.unsubscribe", { subscription: held.subscription });
  held = null;
}

function send(method: string, params: object, answered?: (result: unknown, error?: { code: number }) => void): void {
  numbers += 1;
  if (answered) answers.set(numbers, answered);
  socket?.send(JSON.stringify({ jsonrpc: "2.0", id: numbers, method, params }));
}

interface Frame {
  id?: number;
  result?: unknown;
  error?: { code: number };
  method?: string;
  params?: TaskEvent & { subscription: string };
}

function take({ id, result, error, method, params }: Frame): void {
  if (id !== undefined) {
    const answered = answers.get(id);
    answers.delete(id);
    answered?.(result, error);
  } else if (params?.subscription !== held?.subscription) {
    return; // of a subscription that ends
  } else if (method === "events.dropped") {
    socket?.close();
  } else if (method === "events.lost") {
    for (const one of [...followers]) if (one.of !== undefined) one.take(null);
  } else if (method?.startsWith("task.") && params) {
    for (const one of followers) if (concerns(one.of, params)) one.take(params);
    count();
  }
}

function concerns(of: Follows, event: TaskEvent): boolean {
  if (typeof of === "string") return of === event.id;
  return calm === undefined && of !== undefined && of(event);
}

/** With more events than the page can use, do not listen to all of them for a while. */
function count(): void {
  if (held?.wanted !== "all" || calm !== undefined) return;
  const now = performance.now();
  if (now - countedFrom > SECOND_MS) {
    countedFrom = now;
    counted = 0;
  }
  counted += 1;
  if (counted <= rate(FLOOD)) return;
  counted = 0;
  calm = window.setTimeout(listenAgain, rate(CALM_MS));
  for (const one of followers) if (typeof one.of === "function") one.calm();
  subscribe();
}

function listenAgain(): void {
  window.clearTimeout(calm);
  calm = undefined;
  subscribe();
}

/** Connect again; before that, ask whether the manager still admits this browser. */
function again(): void {
  failures += 1;
  retry = window.setTimeout(() => {
    learn()
      .catch((error: unknown) => {
        if (!(error instanceof RpcError)) throw error;
      })
      .finally(() => {
        if (socket === null && !document.hidden && signedIn.value === "yes" && link.value !== "paused") open();
      });
  }, pauseAfter(failures));
}

function pauseAfter(times: number): number {
  return Math.min(LONGEST_PAUSE_MS, 250 * 2 ** Math.min(times, 6));
}
