/** Inputs for JSON values, by the kind of their field. */

import { useEffect, useState } from "preact/hooks";
import { isTemplate, shown, taken, type Field } from "./fields";

interface Props {
  field: Field;
  /** Unique in the page. */
  path: string;
  value: unknown;
  change: (value: unknown) => void;
  problem?: string | undefined;
  /** Whether a template may stand in place of a value, and which there are. */
  templates?: string[] | null;
}

/** A field with its label, its help, and what is wrong with it. */
export function Input({ field, path, value, change, problem, templates = null }: Props) {
  const [template, setTemplate] = useState(() => isTemplate(field, value));
  const [unread, setUnread] = useState<string | null>(null);
  const inTemplate = templates !== null && field.widget !== "text" && (template || isTemplate(field, value));
  const said = unread ?? problem;
  const described = `${path} help`;

  function take(text: string): void {
    try {
      change(taken(field, text, inTemplate));
      setUnread(null);
    } catch (error) {
      setUnread((error as SyntaxError).message);
    }
  }

  const shared = {
    id: path,
    "aria-invalid": Boolean(said),
    "aria-describedby": described.replaceAll(" ", "-"),
    "aria-required": field.required,
  };
  return (
    <div class={field.widget === "json" && !inTemplate ? "field broad" : "field"}>
      <div class="row label-row">
        <label for={path}>
          {field.name}
          {field.required ? <span aria-hidden="true"> *</span> : null}
        </label>
        {templates !== null && field.widget !== "text" ? (
          <button
            type="button"
            class="quiet small"
            aria-pressed={inTemplate}
            aria-label={`${field.name}: template`}
            title="Text with templates in place of a value"
            onClick={() => {
              setTemplate(!inTemplate);
              setUnread(null);
              change(undefined);
            }}
          >
            template
          </button>
        ) : null}
      </div>
      <Control field={field} shared={shared} inTemplate={inTemplate} value={value} take={take} words={templates} />
      <span id={described.replaceAll(" ", "-")} class="help">
        {said ? <span class="bad-text">{said} </span> : null}
        <span class="muted">
          {inTemplate ? "template" : field.type}
          {field.help ? `: ${field.help}` : ""}
          {field.fallback && field.fallback !== "null" && field.fallback.length < 40 ? `; default ${field.fallback}` : ""}
        </span>
      </span>
    </div>
  );
}

interface ControlProps {
  field: Field;
  shared: Record<string, unknown> & { id: string };
  inTemplate: boolean;
  value: unknown;
  take: (text: string) => void;
  words: string[] | null;
}

function Control({ field, shared, inTemplate, value, take, words }: ControlProps) {
  if (inTemplate || field.widget === "text") {
    const list = words === null ? undefined : `${shared.id} words`.replaceAll(" ", "-");
    const text = shown(field, value);
    return text.includes("\n") || text.length > 80 ? (
      <textarea {...shared} rows={4} value={text} onInput={(event) => take(event.currentTarget.value)} />
    ) : (
      <>
        <input
          {...shared}
          value={text}
          list={list}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => take(event.currentTarget.value)}
        />
        {words && list ? (
          <datalist id={list}>
            {words.map((word) => (
              <option key={word} value={word} />
            ))}
          </datalist>
        ) : null}
      </>
    );
  }
  if (field.widget === "number") {
    return (
      <input
        {...shared}
        inputMode="decimal"
        value={shown(field, value)}
        autocomplete="off"
        onInput={(event) => take(event.currentTarget.value)}
      />
    );
  }
  if (field.widget === "json") return <JsonText shared={shared} text={shown(field, value)} take={take} />;
  return (
    <select {...shared} value={shown(field, value)} onChange={(event) => take(event.currentTarget.value)}>
      <option value="">not set</option>
      {field.options.map((option) => (
        <option key={option} value={option}>
          {option.startsWith('"') ? JSON.parse(option) : option}
        </option>
      ))}
    </select>
  );
}

/** Text that is JSON only when it has been typed to the end. */
function JsonText({ shared, text, take }: { shared: Record<string, unknown>; text: string; take: (text: string) => void }) {
  const [own, setOwn] = useState(text);
  const [focused, setFocused] = useState(false);
  useEffect(() => {
    if (!focused) setOwn(text);
  }, [text, focused]);
  return (
    <textarea
      {...shared}
      rows={Math.min(8, Math.max(1, own.split("\n").length))}
      value={own}
      spellcheck={false}
      onFocus={() => setFocused(true)}
      onBlur={() => setFocused(false)}
      onInput={(event) => {
        setOwn(event.currentTarget.value);
        take(event.currentTarget.value);
      }}
    />
  );
}
