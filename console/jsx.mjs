// What elements become: esbuild imports it where it is used.
export { Fragment, h } from "preact";
