/** JSON values as YAML that the command line reads back as the same values, by the rules of YAML 1.1. */

import { Exact } from "./json";

const PLAIN = /^[a-z_](?:[\w./ -]*[\w./-])?$/i;
const WORDS = /^(?:y|n|yes|no|true|false|on|off|null)$/i;
const LINES = /^[!-~\u00a1-\u2027\u2030-\ud7ff\ue000-\ufefe\u{10000}-\u{10ffff}][\n -~\u00a0-\u2027\u2030-\ud7ff\ue000-\ufefe\u{10000}-\u{10ffff}]*$/u;
const ESCAPED = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;
const KEY_MOST = 1_000;

/** Write a value as YAML, without a line break at its end. */
export function yaml(value: unknown): string {
  return block(value, "");
}

function block(value: unknown, pad: string): string {
  if (Array.isArray(value) && value.length) {
    return value.map((item) => `${pad}- ${block(item, `${pad}  `).trimStart()}`).join("\n");
  }
  if (!isFilled(value)) return pad + scalar(value, pad);
  return Object.entries(value)
    .map(([name, item]) => {
      const key = text(name);
      const begin = key.length > KEY_MOST ? `${pad}? ${key}\n${pad}:` : `${pad}${key}:`;
      const below = isFilled(item) || (Array.isArray(item) && item.length > 0);
      return begin + (below ? `\n${block(item, `${pad}  `)}` : ` ${scalar(item, pad)}`);
    })
    .join("\n");
}

function isFilled(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Exact) && Object.keys(value).length > 0;
}

/** @param pad - what stands before the key or the dash of the value */
function scalar(value: unknown, pad: string): string {
  if (typeof value === "number" || value instanceof Exact) return number(String(value));
  if (typeof value === "string") return value.includes("\n") && LINES.test(value) && !value.endsWith("\n\n") ? lines(value, pad) : text(value);
  if (Array.isArray(value)) return "[]";
  return value === null || typeof value === "boolean" ? String(value) : "{}";
}

/** With a point and a sign in the exponent, without which YAML 1.1 reads text. */
function number(written: string): string {
  const [digits = "", power] = written.toLowerCase().split("e");
  if (power === undefined) return written;
  return `${digits.includes(".") ? digits : `${digits}.0`}e${/^[+-]/.test(power) ? "" : "+"}${power}`;
}

function text(value: string): string {
  if (PLAIN.test(value) && !WORDS.test(value)) return value;
  return JSON.stringify(value).replace(ESCAPED, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function lines(value: string, pad: string): string {
  const kept = value.endsWith("\n");
  const own = (kept ? value.slice(0, -1) : value).split("\n");
  return `|${kept ? "" : "-"}\n${own.map((line) => (line ? `${pad}  ${line}` : "")).join("\n")}`;
}
