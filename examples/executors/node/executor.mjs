// Commands of the stream `default`. Run it: KAIJU_URL=http://127.0.0.1:8077 node executor.mjs
import { setTimeout as sleep } from "node:timers/promises";

import { Executor } from "./kaiju.mjs";

const object = (properties, required = Object.keys(properties)) => ({
  type: "object", properties, required, additionalProperties: false,
});

const commands = {
  "do.echo": {
    doc: "Return what is given.",
    params: object({ data: {} }),
    run: ({ data }) => data,
  },
  "do.sleep": {
    doc: "Sleep, and report the progress.",
    params: object({ seconds: { type: "number", minimum: 0 } }),
    run: async ({ seconds }, { signal, progress }) => {
      progress(0, seconds);
      await sleep(seconds * 1000, undefined, { signal });
      return seconds;
    },
  },
  "do.fail": {
    doc: "Fail.",
    params: object({ message: { type: "string" } }, []),
    run: ({ message = "as asked" }) => {
      throw new Error(message);
    },
  },
};

const { KAIJU_URL = "http://127.0.0.1:8077", KAIJU_TOKEN } = process.env;
await new Executor({ urls: KAIJU_URL.split(","), token: KAIJU_TOKEN, streams: ["default"], commands }).run();
