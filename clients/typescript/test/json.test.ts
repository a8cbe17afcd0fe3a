/** Integers keep their value, in both directions. */

import assert from "node:assert/strict";
import test from "node:test";
import { JsonText } from "../src/core/json.js";
import { parseJson, writeJson } from "../src/index.js";

test("an integer that a number cannot hold is a bigint, any other is a number", () => {
  const text = "[9007199254740991,9007199254740992,-9007199254740993,18446744073709551615,7,1.5]";
  const values = [
    9007199254740991,
    9007199254740992n,
    -9007199254740993n,
    18446744073709551615n,
    7,
    1.5,
  ];
  assert.deepEqual(parseJson(text), values);
  assert.equal(writeJson(values), text);
});

test("digits inside texts and names, floats and exponents stay as they are", () => {
  const value = {
    "18446744073709551615": '"18446744073709551615',
    path: "C:\\18446744073709551615\\",
    pi: 3.1415926535897932384626,
    big: 1.8446744073709552e300,
  };
  assert.deepEqual(parseJson(JSON.stringify(value)), value);
  assert.deepEqual(parseJson("[1234567890123456789e2]"), [1.234567890123456789e20]);
});

test("the same value comes back, whatever the digits and quotes around it", () => {
  const pieces = ['"', "\\", "18446744073709551615", "{", "é\u2028", "}", ":", "\u0000", "-9"];
  const any = () => pieces[Math.floor(Math.random() * pieces.length)]!;
  for (let n = 0; n < 500; n++) {
    const value = {
      [any() + any()]: [any() + any() + any(), BigInt("9007199254740993") * BigInt(n + 1)],
    };
    assert.deepEqual(parseJson(writeJson(value)), value);
  }
});

test("a string of 4 MiB does not hide what comes after it", () => {
  for (const piece of ['\\"a1', "\\\\", "aaaa", '"']) {
    const long = piece.repeat(1 << 20);
    const [text, number] = parseJson(writeJson([long, 18446744073709551615n])) as unknown[];
    assert.ok(text === long); // without a message of 4 MiB
    assert.equal(number, 18446744073709551615n);
  }
});

test("broken JSON is an error", () => {
  for (const text of [
    '{"seed": 18446744073709551615',
    '["18446744073709551615]',
    '["\\"',
    '"\\',
    "\\",
  ]) {
    assert.throws(() => parseJson(text), SyntaxError, text);
    assert.throws(() => new JsonText(text), TypeError, text);
  }
});

test("a number that has lost digits already is refused, with its name and the remedy", () => {
  const rounded = JSON.parse("18446744073709551615") as number;
  assert.throws(() => writeJson({ inputs: { seed: rounded } }), /^TypeError: seed is .* bigint/);
  assert.equal(writeJson({ x: 1e300 }), '{"x":1e+300}');
});

test("a number that JSON cannot express is refused", () => {
  for (const value of [NaN, Infinity, -Infinity]) {
    assert.throws(() => writeJson({ steps: value }), /^TypeError: steps is /);
  }
});

test("a workflow's text is sent unchanged, also what only ComfyUI reads", () => {
  const text =
    '{ "3": {"is_changed": [NaN, -Infinity], "seed": 18446744073709551615, "t": "NaN $& $1"} }';
  const body = { workflow: new JsonText(text), strict: true };
  assert.equal(writeJson(body), `{"workflow":${text},"strict":true}`);
});

test("a workflow's text that is not one object cannot leave its place", () => {
  for (const text of ["", "[]", "1", "{", '{}, "priority": "high"', '{"a": NaNa}', "{} // x"]) {
    assert.throws(() => new JsonText(text), TypeError, text);
  }
});
