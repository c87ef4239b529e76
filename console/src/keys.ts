/** What keys mean. Pure. */

export type Meaning =
  | { kind: "palette" | "find" | "help" | "mark" | "open" }
  | { kind: "go"; to: string }
  | { kind: "move"; by: 1 | -1 };

/** Letters after "g", and the screens that they open. */
export const PLACES: Record<string, string> = {
  o: "",
  t: "tasks",
  n: "create",
  r: "runs",
  l: "timeline",
  w: "waiting",
  s: "schedules",
  m: "streams",
  e: "executors",
  c: "commands",
  p: "pauses",
  b: "bulk",
  a: "audit",
};

export const HELP: [string, string][] = [
  ["Ctrl K", "find a screen, an action or an id"],
  ["/", "go to the box at the top"],
  ["g, then a letter", "go to a screen"],
  ["j, k", "next or previous row"],
  ["x", "select the row"],
  ["o", "open the row"],
  ["?", "this list"],
  ["Escape", "close a dialog"],
];

export interface Pressed {
  key: string;
  ctrl: boolean;
  meta: boolean;
  alt: boolean;
  /** Whether the key belongs to an input. */
  typing: boolean;
}

/** What a key means, and which key it waits for then.
 *
 * @param before - the key that came just before and waits for another: "g" or nothing
 */
export function meaning(pressed: Pressed, before: string): { means: Meaning | null; waits: string } {
  const { key, ctrl, meta, alt, typing } = pressed;
  const none = { means: null, waits: "" };
  if ((ctrl || meta) && !alt && key.toLowerCase() === "k") return { means: { kind: "palette" }, waits: "" };
  if (typing || ctrl || meta || alt) return none;
  if (before === "g") {
    const to = PLACES[key];
    return to === undefined ? none : { means: { kind: "go", to }, waits: "" };
  }
  if (key === "g") return { means: null, waits: "g" };
  const single: Record<string, Meaning> = {
    "/": { kind: "find" },
    "?": { kind: "help" },
    j: { kind: "move", by: 1 },
    k: { kind: "move", by: -1 },
    x: { kind: "mark" },
    o: { kind: "open" },
  };
  return Object.hasOwn(single, key) ? { means: single[key] as Meaning, waits: "" } : none;
}

/** Items whose text has all words, those first whose text begins with the first of them. */
export function matching<T extends { text: string }>(items: T[], typed: string): T[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const [first] = words;
  if (first === undefined) return items;
  const found = items.filter((item) => words.every((word) => item.text.toLowerCase().includes(word)));
  const starts = (item: T): number => (item.text.toLowerCase().startsWith(first) ? 0 : 1);
  return found.sort((a, b) => starts(a) - starts(b));
}
