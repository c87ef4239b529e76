import assert from "node:assert/strict";
import test from "node:test";
import { changed, fieldsOf, isTemplate, shown, taken, templateWords } from "../src/fields";
import { format, parse } from "../src/json";

const one = (schema, required = []) => fieldsOf({ type: "object", properties: { x: schema }, required })[0];

test("a schema becomes a widget", () => {
  const widgets = {
    choice: { enum: ["a", 1, null] },
    flag: { type: "boolean" },
    number: { type: "integer", minimum: 0, maximum: 9 },
    text: { type: "string", format: "date-time" },
    json: { type: "array", items: { type: "string" } },
  };
  for (const [widget, schema] of Object.entries(widgets)) assert.equal(one(schema).widget, widget);
  assert.equal(one({}).widget, "json");
  assert.equal(one(true).widget, "json");
  assert.equal(one({ type: ["string", "integer"] }).widget, "json");
  assert.equal(one(widgets.number).type, "whole number, 0 to 9");
  assert.equal(one(widgets.text).type, "text (date-time)");
  assert.equal(one(widgets.json).type, "list of string");
  assert.deepEqual(one(widgets.choice).options, ['"a"', "1", "null"]);
});

test("a nullable schema, a reference and one of one are followed", () => {
  const root = {
    properties: {
      x: { anyOf: [{ $ref: "#/$defs/A" }, { type: "null" }], default: null, description: "own" },
      y: { allOf: [{ $ref: "#/$defs/B~1C" }] },
      z: { anyOf: [{ type: "string" }, { type: "integer" }] },
    },
    $defs: { A: { type: "integer", description: "theirs" }, "B/C": { type: "boolean" } },
    required: ["y"],
  };
  const [y, x, z] = fieldsOf(root);
  assert.deepEqual([x.widget, x.help, x.fallback], ["number", "own", "null"]);
  assert.deepEqual([y.name, y.widget, y.required], ["y", "flag", true]);
  assert.equal(z.widget, "json");
});

test("a schema that is broken or circular still has fields", () => {
  const circle = { properties: { x: { $ref: "#/properties/x" } } };
  assert.equal(fieldsOf(circle)[0].widget, "json");
  assert.equal(one({ $ref: "#/nowhere" }).widget, "json");
  assert.equal(one({ $ref: "http://else.where/x" }).widget, "json");
  assert.deepEqual(fieldsOf(null), []);
  assert.deepEqual(fieldsOf({ properties: [] }), []);
});

test("what is typed becomes a value, and is shown again", () => {
  const cases = [
    [{ type: "integer" }, "18446744073709551615", false, "18446744073709551615"],
    [{ type: "number" }, " 1.50 ", false, "1.50"],
    [{ type: "number" }, "much", false, '"much"'],
    [{ type: "number" }, "[0.total]", true, '"[0.total]"'],
    [{ type: "string" }, "12", false, '"12"'],
    [{ type: "boolean" }, "true", false, "true"],
    [{ enum: ["a", 1] }, '"a"', false, '"a"'],
    [{}, '{"a": [1]}', false, '{"a":[1]}'],
  ];
  for (const [schema, text, template, json] of cases) {
    const field = one(schema);
    const value = taken(field, text, template);
    assert.equal(format(value), json);
    assert.equal(format(taken(field, shown(field, value), template)), json);
  }
  assert.throws(() => taken(one({}), "{", false), SyntaxError);
});

test("an empty field is absent, but for a text that is required", () => {
  assert.equal(taken(one({ type: "integer" }), "", false), undefined);
  assert.equal(taken(one({ type: "string" }), "", false), undefined);
  assert.equal(taken(one({ type: "string" }, ["x"]), "", false), "");
  assert.equal(shown(one({}), undefined), "");
});

test("text in a field that is no text is a template", () => {
  assert.equal(isTemplate(one({ type: "integer" }), "[0]"), true);
  assert.equal(isTemplate(one({ type: "integer" }), 1), false);
  assert.equal(isTemplate(one({ type: "string" }), "[0]"), false);
  assert.equal(isTemplate(one({ enum: ["a"] }), "a"), false);
  assert.equal(isTemplate(one({ enum: ["a"] }), "[0]"), true);
});

test("templates read arguments and earlier stages", () => {
  const commands = [{ method: "a", name: "first" }, { method: "b" }, { method: "c" }];
  assert.deepEqual(templateWords(commands, 2, { x: 1 }).slice(0, 3), ["[kws.x]", "[first]", "[1]"]);
  assert.ok(!templateWords(commands, 1, null).includes("[1]"));
});

test("a change leaves the rest as it was written", () => {
  const value = parse('{"a":1.50,"b":[{"c":18446744073709551615}],"__proto__":2}');
  assert.equal(format(changed(value, ["b", 0, "d"], true)), '{"a":1.50,"b":[{"c":18446744073709551615,"d":true}],"__proto__":2}');
  assert.equal(format(changed(value, ["b", 0], undefined)), '{"a":1.50,"b":[],"__proto__":2}');
  assert.equal(format(changed(value, ["a"], undefined)), '{"b":[{"c":18446744073709551615}],"__proto__":2}');
  assert.equal(format(changed(value, ["x", "y"], 1)), '{"a":1.50,"b":[{"c":18446744073709551615}],"__proto__":2,"x":{"y":1}}');
  assert.equal(format(value).length > 0, true);
});
