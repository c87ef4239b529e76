import assert from "node:assert/strict";
import test from "node:test";
import { Exact, format, parse } from "../src/json";

test("numbers stay as they were written", () => {
  for (const text of ["18446744073709551615", "-9223372036854775808", "0.1", "1e400", "1.10", "-0", "1E+2"]) {
    assert.equal(format(parse(text)), text);
    assert.equal(format(parse(`{"a":[${text}]}`)), `{"a":[${text}]}`);
  }
});

test("a number that JavaScript holds is a number", () => {
  assert.equal(parse("12"), 12);
  assert.ok(parse("18446744073709551615") instanceof Exact);
  assert.equal(Number(parse("1764313200.0")), 1764313200);
});

test("it reads what JSON.parse reads", () => {
  const texts = ['{"a": {"b": [1, "x", null, true, false]}, "": " "}', "[]", "{}", '"\\u20ac\\n\\""', " 1 ", '["\ud83d\ude00"]'];
  for (const text of texts) assert.deepEqual(parse(text), JSON.parse(text));
});

test("what is no JSON is refused, with the place", () => {
  for (const text of ["", "{", "[1", '{"a"', '"x', '{"a":1,']) assert.throws(() => parse(text), SyntaxError);
  for (const text of ["[1,]", "{'a':1}", "01", "nul", "[1] 2", "+1", ".5", "NaN", '{"a":1,}']) {
    assert.throws(() => parse(text), /This is not/);
  }
});

test("a name that JavaScript knows is a name", () => {
  const text = '{"__proto__":{"x":1},"constructor":2}';
  assert.equal(format(parse(text)), text);
  assert.equal({}.x, undefined);
});

test("indented JSON reads the same", () => {
  const value = parse('{"a":[1,{"b":[]}],"c":18446744073709551615}');
  assert.deepEqual(parse(format(value, 2)), value);
  assert.match(format(value, 2), /\n {2}"a": \[\n {4}1,/);
});
