/** Cron expressions in words, as far as they are simple. Pure. */

const ALIASES: Record<string, string> = {
  "@hourly": "0 * * * *",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@weekly": "0 0 * * 0",
  "@monthly": "0 0 1 * *",
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
};
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
]; // prettier-ignore
const TIMES_MOST = 4;
const ANY = new Set(["*", "?"]);

/** A cron expression in words, such as "at 03:00, Monday to Friday"; null if it takes more than a sentence. */
export function cronWords(cron: string): string | null {
  const text = cron.trim().toLowerCase();
  const [minute, hour, day, month, weekday, second, ...more] = (ALIASES[text] ?? text).split(/\s+/);
  if (minute === undefined || hour === undefined || day === undefined || month === undefined || weekday === undefined) return null;
  if (more.length || (second !== undefined && second !== "0")) return null;
  const when = timeWords(minute, hour);
  const days = dayWords(day, weekday);
  const months = ANY.has(month) ? "" : named(month, MONTHS, 1);
  if (when === null || days === null || months === null) return null;
  const regular = when.startsWith("every");
  return [when, days || (regular ? "" : "every day"), months && `in ${months}`].filter(Boolean).join(", ");
}

function timeWords(minute: string, hour: string): string | null {
  const step = stepOf(minute, 60);
  const at = numbersOf(minute, 59);
  if (ANY.has(hour)) {
    if (step) return step === 1 ? "every minute" : `every ${step} minutes`;
    return at?.length === 1 ? (at[0] === 0 ? "every hour" : `every hour, ${at[0]} min past`) : null;
  }
  const [, from, to] = /^(\d{1,2})-(\d{1,2})$/.exec(hour) ?? [];
  if (from !== undefined && to !== undefined && Number(from) < Number(to) && Number(to) <= 23) {
    if (step) return `every ${step === 1 ? "minute" : `${step} minutes`} from ${clock(Number(from), 0)} to ${clock(Number(to), 60 - step)}`;
    if (at?.length !== 1) return null;
    return `every hour from ${clock(Number(from), at[0] as number)} to ${clock(Number(to), at[0] as number)}`;
  }
  if (at === null) return null;
  const hours = stepOf(hour, 24);
  if (hours === 1) return timeWords(minute, "*");
  if (hours) return at.length === 1 ? `every ${hours} hours${at[0] ? `, ${at[0]} min past` : ""}` : null;
  const fixed = numbersOf(hour, 23);
  if (fixed === null || fixed.length * at.length > TIMES_MOST) return null;
  return `at ${list(fixed.flatMap((one) => at.map((past) => clock(one, past))))}`;
}

function dayWords(day: string, weekday: string): string | null {
  if (ANY.has(day) && ANY.has(weekday)) return "";
  if (ANY.has(day)) return named(weekday.replace(/\b7\b/g, "0"), DAYS, 0);
  if (!ANY.has(weekday)) return null; // either of them
  if (day === "l") return "on the last day of the month";
  const days = numbersOf(day, 31);
  return days && `on day ${list(days.map(String))} of the month`;
}

/** The step of a field such as "every fifth", if it divides the whole evenly; 1 of `*`. */
function stepOf(field: string, whole: number): number | null {
  if (field === "*") return 1;
  const step = Number(/^(?:\*|0)\/(\d+)$/.exec(field)?.[1]);
  return step > 0 && step < whole && whole % step === 0 ? step : null;
}

/** The numbers of a list, in their order. */
function numbersOf(field: string, most: number): number[] | null {
  if (!/^\d{1,2}(,\d{1,2})*$/.test(field)) return null;
  const numbers = [...new Set(field.split(",").map(Number))].sort((a, b) => a - b);
  return numbers.every((one) => one <= most) ? numbers : null;
}

/** Names of days or months: a list, or one range. */
function named(field: string, names: string[], first: number): string | null {
  const index = (word: string): number => {
    const number = /^\d{1,2}$/.test(word) ? Number(word) - first : names.findIndex((name) => name.slice(0, 3).toLowerCase() === word);
    return number < names.length ? number : -1;
  };
  const ends = field.split("-").map(index);
  if (ends.length === 2) {
    const [from, to] = ends as [number, number];
    return from >= 0 && to > from ? `${names[from]} to ${names[to]}` : null;
  }
  const found = field.split(",").map(index);
  return found.every((one) => one >= 0) ? list(found.map((one) => names[one] as string)) : null;
}

function clock(hour: number, minute: number): string {
  return `${String(hour).padStart(2, "0")}:${String(minute).padStart(2, "0")}`;
}

function list(items: string[]): string {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}
