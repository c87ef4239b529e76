/** Light or dark: as the system, or as somebody chose. */

import { signal } from "@preact/signals";

const NAME = "kaiju-theme";

export const theme = signal(localStorage.getItem(NAME) ?? "");

export function setTheme(chosen: string): void {
  theme.value = chosen;
  if (chosen) localStorage.setItem(NAME, chosen);
  else localStorage.removeItem(NAME);
}

export function startTheme(): void {
  theme.subscribe((chosen) => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
  });
}
