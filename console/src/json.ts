/** JSON without loss: numbers that JavaScript cannot hold stay text. */

/** A number as it was written, such as 18446744073709551615. */
export class Exact {
  constructor(readonly text: string) {}
  valueOf(): number {
    return Number(this.text);
  }
  toString(): string {
    return this.text;
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\]|\\.)*"/y;
const WORDS: [string, unknown][] = [
  ["true", true],
  ["false", false],
  ["null", null],
];

class Reader {
  private at = 0;
  constructor(private readonly text: string) {}

  document(): unknown {
    const value = this.value();
    this.space();
    if (this.at < this.text.length) this.fail();
    return value;
  }

  private value(): unknown {
    this.space();
    const next = this.text[this.at];
    if (next === "{") return this.object();
    if (next === "[") return this.array();
    if (next === '"') return this.string();
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    const text = this.match(NUMBER);
    const number = Number(text);
    return String(number) === text ? number : new Exact(text);
  }

  private object(): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    this.list("}", () => {
      this.space();
      const name = this.string();
      this.space();
      this.expect(":");
      entries.push([name, this.value()]);
    });
    return Object.fromEntries(entries);
  }

  private array(): unknown[] {
    const items: unknown[] = [];
    this.list("]", () => items.push(this.value()));
    return items;
  }

  private list(end: string, item: () => void): void {
    this.at += 1;
    this.space();
    if (this.text[this.at] === end) {
      this.at += 1;
      return;
    }
    for (;;) {
      item();
      this.space();
      if (this.text[this.at] === end) break;
      this.expect(",");
    }
    this.at += 1;
  }

  private string(): string {
    return JSON.parse(this.match(STRING)) as string;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) return this.fail();
    this.at = pattern.lastIndex;
    return found[0];
  }

  private space(): void {
    SPACE.lastIndex = this.at;
    SPACE.exec(this.text);
    this.at = SPACE.lastIndex;
  }

  private expect(character: string): void {
    if (this.text[this.at] !== character) this.fail();
    this.at += 1;
  }

  private fail(): never {
    const found = this.text[this.at];
    throw new SyntaxError(
      found === undefined
        ? "This is not complete JSON."
        : `This is not JSON: unexpected ${JSON.stringify(found)} at character ${this.at + 1}.`,
    );
  }
}

/** What may be a number, inside of text, too. */
const NUMBERS = /(?<=[:,[\s]|^)-?\d[\d.eE+-]*(?=[,\]}\s]|$)/g;

/** Whether JavaScript writes all numbers as the text has them. */
function isPlain(text: string): boolean {
  for (const [number] of text.matchAll(NUMBERS)) if (String(Number(number)) !== number) return false;
  return true;
}

type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;

const exactly: Reviver = (_, value, context) =>
  typeof value === "number" && String(value) !== context?.source ? new Exact(context?.source as string) : value;

/** Whether the browser says how numbers were written, which ones of before 2025 do not. */
const HAS_SOURCES = JSON.parse("1.0", ((_, __, context) => context?.source === "1.0") as Reviver) as boolean;

/** Read JSON. Throws a SyntaxError whose message is for people. */
export function parse(text: string): unknown {
  try {
    if (isPlain(text)) return JSON.parse(text);
    if (HAS_SOURCES) return JSON.parse(text, exactly);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return new Reader(text).document(); // it finds the place of a mistake, too
}

/** Write JSON; an Exact is written as it was read. */
export function format(value: unknown, indent = 0, depth = 0): string {
  if (value instanceof Exact) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const gap = indent ? " " : "";
  const items = Array.isArray(value)
    ? value.map((item) => format(item, indent, depth + 1))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([name, item]) => `${JSON.stringify(name)}:${gap}${format(item, indent, depth + 1)}`);
  if (items.length === 0) return open + close;
  if (!indent) return open + items.join(",") + close;
  const pad = " ".repeat(indent * (depth + 1));
  const end = " ".repeat(indent * depth);
  return `${open}\n${pad}${items.join(`,\n${pad}`)}\n${end}${close}`;
}
