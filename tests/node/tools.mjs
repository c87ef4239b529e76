// Reads an OpenRPC document as other people's libraries do. Prints what they found, as JSON.
import { readFileSync } from "node:fs";
import {
  MethodCallValidator,
  dereferenceDocument,
  parseOpenRPCDocument,
  validateOpenRPCDocument,
} from "@open-rpc/schema-utils-js";

const text = readFileSync(process.argv[2], "utf8");
const refused = validateOpenRPCDocument(JSON.parse(text));
const parsed = await parseOpenRPCDocument(text, { validate: true, dereference: true });
const bare = await parseOpenRPCDocument(text, { validate: false, dereference: false });
const whole = await dereferenceDocument(bare);
const validator = new MethodCallValidator(parsed);
const calls = JSON.parse(readFileSync(process.argv[3], "utf8"));
const verdicts = calls.map(([method, params]) => {
  const errors = validator.validate(method, params);
  return Array.isArray(errors) ? errors.map((error) => error.message) : [String(errors)];
});

console.log(
  JSON.stringify({
    refused: refused === true ? null : String(refused.message),
    methods: parsed.methods.map((method) => method.name),
    references: JSON.stringify(whole.methods).split('"$ref"').length - 1,
    verdicts,
  }),
);
