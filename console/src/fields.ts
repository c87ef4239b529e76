/** Fields for the parameters of a command, from its JSON Schema. Pure. */

import { Exact, format, parse } from "./json";

export type Widget = "choice" | "flag" | "number" | "text" | "json";

export interface Field {
  name: string;
  widget: Widget;
  /** The type and its bounds, in words. */
  type: string;
  help: string;
  required: boolean;
  /** For a choice: the values as JSON. */
  options: string[];
  /** What is used if the field is absent, as JSON; empty if that is not known. */
  fallback: string;
}

export type Schema = Record<string, unknown>;

const DEEPEST = 8;

/** The fields of an object's schema, the required ones first.
 *
 * @param document - where its references point to; the schema itself if it stands alone
 */
export function fieldsOf(schema: unknown, document?: unknown): Field[] {
  const own = isObject(schema) ? schema : {};
  const root = isObject(document) ? document : own;
  const properties = isObject(own.properties) ? own.properties : {};
  const required = new Set(Array.isArray(own.required) ? own.required : []);
  const fields = Object.entries(properties).map(([name, one]) => fieldOf(name, one, root, required.has(name)));
  return [...fields.filter((field) => field.required), ...fields.filter((field) => !field.required)];
}

function fieldOf(name: string, schema: unknown, root: Schema, required: boolean): Field {
  const own = resolved(schema, root);
  const { widget, type, options } = shapeOf(own, root);
  return {
    name,
    widget,
    type,
    help: typeof own.description === "string" ? own.description : "",
    required,
    options,
    fallback: "default" in own ? format(own.default) : "",
  };
}

/** A schema without `$ref`, and without null beside the one other type. */
function resolved(schema: unknown, root: Schema, depth = 0): Schema {
  if (!isObject(schema) || depth > DEEPEST) return {};
  if (typeof schema.$ref === "string") {
    const { $ref, ...beside } = schema;
    return { ...resolved(target($ref as string, root), root, depth + 1), ...beside };
  }
  const kinds = alternatives(schema);
  if (kinds === null) return schema;
  const { anyOf: _, oneOf: __, allOf: ___, ...beside } = schema;
  const [only, other] = kinds.filter((one) => !isNull(one));
  return only !== undefined && other === undefined ? { ...resolved(only, root, depth + 1), ...beside } : schema;
}

function alternatives(schema: Schema): unknown[] | null {
  for (const word of ["anyOf", "oneOf"]) if (Array.isArray(schema[word])) return schema[word] as unknown[];
  return Array.isArray(schema.allOf) && schema.allOf.length === 1 ? schema.allOf : null;
}

function target(reference: string, root: Schema): unknown {
  if (!reference.startsWith("#/")) return {};
  return reference
    .slice(2)
    .split("/")
    .map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"))
    .reduce<unknown>((at, part) => (isObject(at) && Object.hasOwn(at, part) ? at[part] : {}), root);
}

function shapeOf(schema: Schema, root: Schema): Pick<Field, "widget" | "type" | "options"> {
  const type = typeOf(schema);
  if ("const" in schema) return { widget: "choice", type: "one value", options: [format(schema.const)] };
  if (Array.isArray(schema.enum)) {
    return { widget: "choice", type: "one of a list", options: schema.enum.map((one) => format(one)) };
  }
  if (type === "boolean") return { widget: "flag", type: "true or false", options: ["true", "false"] };
  if (type === "integer" || type === "number") {
    return { widget: "number", type: bounds(type === "integer" ? "whole number" : "number", schema, "minimum", "maximum"), options: [] };
  }
  if (type === "string") {
    const word = typeof schema.format === "string" ? `text (${schema.format})` : "text";
    return { widget: "text", type: bounds(word, schema, "minLength", "maxLength"), options: [] };
  }
  return { widget: "json", type: wordOf(schema, type, root), options: [] };
}

function typeOf(schema: Schema): string {
  const { type } = schema;
  if (typeof type === "string") return type;
  if (!Array.isArray(type)) return "";
  const [only, other] = type.filter((one) => one !== "null");
  return other === undefined && typeof only === "string" ? only : "";
}

function wordOf(schema: Schema, type: string, root: Schema): string {
  if (type === "array") {
    const items = resolved(schema.items, root);
    return `list of ${typeOf(items) || "values"}`;
  }
  if (type === "object") return typeof schema.title === "string" ? `object (${schema.title})` : "object";
  return "any JSON value";
}

function bounds(word: string, schema: Schema, low: string, high: string): string {
  const least = schema[low];
  const most = schema[high];
  const unit = low === "minLength" ? " characters" : "";
  if (least !== undefined && most !== undefined) return `${word}, ${least} to ${most}${unit}`;
  if (least !== undefined) return `${word}, at least ${least}${unit}`;
  if (most !== undefined) return `${word}, at most ${most}${unit}`;
  return word;
}

/** Whether a value of a field is a template although the field is no text. */
export function isTemplate(field: Field, value: unknown): boolean {
  return typeof value === "string" && field.widget !== "text" && !field.options.includes(JSON.stringify(value));
}

/** The text of an input for a value; empty if it is absent. */
export function shown(field: Field, value: unknown): string {
  if (value === undefined) return "";
  if (typeof value === "string" && field.widget !== "choice" && field.widget !== "json") return value;
  if (isTemplate(field, value)) return value as string;
  return format(value, field.widget === "json" ? 2 : 0);
}

/** The value that a text stands for; undefined if the field is to be absent.
 *
 * A number that is none stays text: the manager says what is wrong with it.
 * @throws SyntaxError: the text of a JSON field is no JSON
 */
export function taken(field: Field, text: string, template: boolean): unknown {
  if (text === "" && (field.widget !== "text" || !field.required)) return undefined;
  if (template || field.widget === "text") return text;
  if (field.widget === "number") return numberOr(text.trim());
  return parse(text);
}

function numberOr(text: string): unknown {
  try {
    const value = parse(text);
    return typeof value === "number" || value instanceof Exact ? value : text;
  } catch {
    return text;
  }
}

/** What can stand in the templates of a stage: the arguments, and the results of earlier stages. */
export function templateWords(commands: unknown, stage: number, kws: unknown): string[] {
  const words = isObject(kws) ? Object.keys(kws).map((name) => `[kws.${name}]`) : [];
  const earlier = Array.isArray(commands) ? commands.slice(0, stage) : [];
  earlier.forEach((command, at) => {
    const name = isObject(command) && typeof command.name === "string" ? command.name : String(at);
    words.push(`[${name}]`);
  });
  return [...words, "[id]", "[job_id]", "[scheduled_at]"];
}

/** A copy of a JSON value with one place changed; undefined removes it. */
export function changed(value: unknown, path: (string | number)[], to: unknown): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return to;
  if (typeof name === "number") {
    const list = Array.isArray(value) ? [...value] : [];
    const item = changed(list[name], rest, to);
    if (item === undefined) list.splice(name, 1);
    else list[name] = item;
    return list;
  }
  const entries = Object.entries(isObject(value) ? value : {});
  const at = entries.findIndex(([one]) => one === name);
  const item = changed(at < 0 ? undefined : (entries[at] as [string, unknown])[1], rest, to);
  if (item === undefined) return Object.fromEntries(entries.filter(([one]) => one !== name));
  if (at < 0) entries.push([name, item]);
  else entries[at] = [name, item];
  return Object.fromEntries(entries);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Exact);
}

function isNull(schema: unknown): boolean {
  return isObject(schema) && schema.type === "null";
}
