/** A word of the query as a field of a form. */

import { useEffect, useRef } from "preact/hooks";
import { query } from "./router";

/** The field shows another word when the address has changed; what somebody types and the focus stay otherwise. */
export function Word({ name, title, kind = "field" }: { name: string; title: string; kind?: string }) {
  const box = useRef<HTMLInputElement>(null);
  const value = query.value.get(name) ?? "";
  useEffect(() => {
    if (box.current) box.current.value = value;
  }, [value]);
  return (
    <label class={kind}>
      <span>{title}</span>
      <input ref={box} name={name} autocomplete="off" />
    </label>
  );
}
