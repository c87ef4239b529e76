/** A dialog above the page. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface Props {
  name?: string;
  titled?: string;
  kind?: string;
  leave: () => void;
  lightly?: boolean;
  children: ComponentChildren;
}

/**
 * The page takes it away in the moment in which it is left. The browser's own close event comes later, when
 * the next dialog may already stand in its place.
 *
 * @param name - what it is called; titled: the id of its heading instead
 * @param leave - takes it away
 * @param lightly - a click beside it leaves it, too
 */
export function Modal({ name, titled, kind, leave, lightly, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);

  function left(event: Event): void {
    event.preventDefault();
    if (dialog.current !== null) leave();
  }

  return (
    <dialog
      ref={dialog}
      class={kind}
      aria-label={name}
      aria-labelledby={titled}
      onKeyDown={(event) => {
        if (event.key === "Escape") left(event);
      }}
      onCancel={left}
      onClose={left}
      onClick={(event) => {
        if (lightly && event.target === dialog.current) leave();
      }}
    >
      {children}
    </dialog>
  );
}
