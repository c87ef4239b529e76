// The commands of `noting.py`, for the executor for Node.
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { Executor } from "../../examples/executors/node/kaiju.mjs";

const commands = {
  "note.echo": {
    run: ({ file, data }, { idempotency_key }) => {
      appendFileSync(file, `${idempotency_key}\n`);
      return data;
    },
  },
  "note.sleep": {
    run: async ({ file, seconds }, { idempotency_key, signal }) => {
      appendFileSync(file, `${idempotency_key}\n`);
      await sleep(seconds * 1000, undefined, { signal });
      return seconds;
    },
  },
};

await new Executor({ urls: process.env.KAIJU_URL.split(","), streams: ["default"], commands }).run();
