import assert from "node:assert/strict";
import test from "node:test";
import { cronWords } from "../src/cronwords";

test("simple expressions are put into words", () => {
  for (const [cron, words] of [
    ["* * * * *", "every minute"],
    ["*/5 * * * *", "every 5 minutes"],
    ["0 * * * *", "every hour"],
    ["@hourly", "every hour"],
    ["17 * * * *", "every hour, 17 min past"],
    ["17 */1 * * *", "every hour, 17 min past"],
    ["*/1 * * * *", "every minute"],
    ["0 */6 * * *", "every 6 hours"],
    ["30 */2 * * *", "every 2 hours, 30 min past"],
    ["0 3 * * *", "at 03:00, every day"],
    ["@daily", "at 00:00, every day"],
    ["0 8 * * 1-5", "at 08:00, Monday to Friday"],
    ["0 8 * * mon-fri", "at 08:00, Monday to Friday"],
    ["0,30 8 * * sat,7", "at 08:00 and 08:30, Saturday and Sunday"],
    ["0 20,8 * * *", "at 08:00 and 20:00, every day"],
    ["*/15 9-17 * * 1-5", "every 15 minutes from 09:00 to 17:45, Monday to Friday"],
    ["5 9-17 * * *", "every hour from 09:05 to 17:05"],
    ["0 0 1 * *", "at 00:00, on day 1 of the month"],
    ["0 0 L * ?", "at 00:00, on the last day of the month"],
    ["0 8 29 2 *", "at 08:00, on day 29 of the month, in February"],
    ["0 8 * jun-aug 0", "at 08:00, Sunday, in June to August"],
    ["0 8 * * * 0", "at 08:00, every day"],
  ]) {
    assert.equal(cronWords(cron), words, cron);
  }
});

test("what takes more than a sentence, or is no cron expression, stays as it is", () => {
  for (const cron of [
    "*/7 * * * *", "0 */5 * * *", "0 8 1 * 1", "0 8 * * 1#2", "0 8 * * 5-1", "0 8 * * 8", "0 0 32 * *", "0 0 * 13 *", "0 25 * * *",
    "1,2,3 4,5,6 * * *", "0 8 * * * 30", "0 8 * *", "0 8 * * * 0 2026", "", "@never", "toString",
  ]) {
    assert.equal(cronWords(cron), null, cron);
  }
});
