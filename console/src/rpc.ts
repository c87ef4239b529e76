/** Calls of the manager's methods. */

import { computed, signal } from "@preact/signals";
import { format, parse } from "./json";
import type { WhoAmI } from "./types";

/** The manager's base path; all screens are one segment below it. */
export const base = new URL(".", location.href).pathname;

export type SignedIn = "unknown" | "yes" | "no";

/** Whether the manager admits this browser. */
export const signedIn = signal<SignedIn>("unknown");
/** Whether the last call was answered. */
export const reachable = signal(true);
/** The methods that the caller may call. */
export const methods = signal<ReadonlySet<string>>(new Set());
/** The OpenRPC document as text: what the caller may call, and with what. */
const contractText = signal('{"methods":[],"components":{"schemas":{}}}');
/** The document. It is large, and read exactly only where its bounds of numbers are needed. */
export const contract = computed(() => parse(contractText.value) as Contract);
export const whoAmI = signal<WhoAmI>({});
/** Seconds by which the clock of the manager is ahead of that of the browser. */
export const clockAhead = signal(0);

/** A call that failed. Code 0: the manager did not answer. */
export class RpcError extends Error {
  constructor(
    readonly code: number,
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

interface Contract {
  methods: { name: string }[];
  components: { schemas: Record<string, unknown> };
}

interface Answer {
  result?: unknown;
  error?: { code: number; message: string; data?: Record<string, unknown> };
}

let last = 0;

export async function call<T>(method: string, params: object = {}): Promise<T> {
  last += 1;
  const answer = await post("rpc", { jsonrpc: "2.0", id: last, method, params });
  if (answer?.result === undefined) unreachable();
  return answer.result as T;
}

async function post(path: string, body: unknown): Promise<Answer | null> {
  const response = await send(path, "POST", body);
  const text = await textOf(response);
  if (response.status === 401 && path === "rpc") signedIn.value = "no";
  const answer = read(text, parse) as Answer | null;
  if (answer?.error) throw new RpcError(answer.error.code, answer.error.message, answer.error.data);
  check(response);
  return answer;
}

function send(path: string, method: string, body?: unknown): Promise<Response> {
  return ask(path, {
    method,
    body: body === undefined ? undefined : format(body),
    headers: { "Content-Type": "application/json" },
    cache: "no-store",
  });
}

async function ask(path: string, options: RequestInit): Promise<Response> {
  const response = await fetch(base + path, { credentials: "same-origin", ...options }).catch(unreachable);
  reachable.value = true;
  setClock(response.headers.get("Date"));
  return response;
}

/** Correct the clock of the page as far as an answer proves it wrong: a `Date` stands for a whole second. */
function setClock(date: string | null): void {
  const least = (Date.parse(date ?? "") - Date.now()) / 1000;
  if (least) clockAhead.value = Math.max(least, Math.min(least + 1, clockAhead.value));
}

function textOf(response: Response): Promise<string> {
  return response.text().catch(unreachable); // the connection broke
}

function check({ ok, status }: Response): void {
  if (!ok) throw new RpcError(status, `The manager answered ${status}.`);
}

/** Nobody has answered, or a proxy has instead of the manager. */
function unreachable(): never {
  reachable.value = false;
  throw new RpcError(0, "The manager cannot be reached.");
}

/** What a text stands for; null if it is no JSON, as the answers of proxies. */
function read(text: string, parser: (text: string) => unknown): unknown {
  try {
    return parser(text);
  } catch {
    return null;
  }
}

/** Learn who the caller is and what it may do. */
export async function learn(): Promise<void> {
  const [who, text] = await Promise.all([call<WhoAmI>("system.whoami"), readContract()]);
  if (text !== contractText.value) {
    const found = read(text, JSON.parse) as Contract | null;
    methods.value = new Set((found?.methods ?? unreachable()).map((one) => one.name));
    contractText.value = text;
  }
  whoAmI.value = who;
  signedIn.value = "yes";
}

/** The browser keeps it, and asks whether it is still valid. */
async function readContract(): Promise<string> {
  const response = await ask("openrpc.json", { cache: "no-cache" });
  if (response.status === 401) signedIn.value = "no";
  check(response);
  return textOf(response);
}

export async function signIn(token: string): Promise<void> {
  await post("session", { token });
  await learn();
}

export async function signOut(): Promise<void> {
  await send("session", "DELETE");
  signedIn.value = "no";
}

export function may(method: string): boolean {
  return methods.value.has(method);
}

/** Whether the token is limited to some streams. Its principal can be, too: then the manager refuses more than this says. */
export function isLimited(): boolean {
  return whoAmI.value.scope?.streams?.includes("*") === false;
}
