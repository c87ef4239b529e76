/** Values that people type. */

import { useEffect, useState } from "preact/hooks";

const PAUSE_MS = 350;

/** A value as it was when it had not changed for a moment. */
export function useSettled<T>(value: T): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}
