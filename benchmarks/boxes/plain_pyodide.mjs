// Pyodide as its documentation starts it, without a jail and without a snapshot: one program from standard input, whose
// tool calls are lines on standard output that are answered by lines on standard input.
//
//   node plain_pyodide.mjs PYODIDE
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const { loadPyodide } = await import(pathToFileURL(`${process.argv[2]}/pyodide.mjs`).href);
const python = await loadPyodide();
const send = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const waiting = new Map();
let last = 0;
python.registerJsModule("host", {
  call: (argument) =>
    new Promise((resolve) => {
      waiting.set(++last, resolve);
      send({ id: last, argument });
    }),
});
send({ ready: true });
for await (const line of readline.createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.program === undefined) {
    waiting.get(message.id)(message.value);
    waiting.delete(message.id);
  } else {
    python.runPythonAsync(message.program).then((value) => {
      send({ value });
      process.exit(0);
    });
  }
}
