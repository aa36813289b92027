// Runs Pyodide under node or deno: makes the snapshot from which guests start, or serves one program from it.
//
//   worker.mjs make PYODIDE              reads {path: base64} from standard input, writes the snapshot to standard output
//   worker.mjs compile PYODIDE           reads the same, writes {path: base64} of the wheels with bytecode
//   worker.mjs serve PYODIDE SNAPSHOT    carries the guest runner's frames on standard input and output
//
// PYODIDE is the npm package's folder. What a program can reach of JavaScript it may use to attack: the jail around this
// process is what holds it. What is taken away here is the second fence.
import childProcess from "node:child_process";
import fs from "node:fs";
import module from "node:module";
import { Buffer } from "node:buffer";
import { pathToFileURL } from "node:url";

// Whoever touches node's own streams makes the descriptors non-blocking (importing "node:process" does), and the frames
// need them as they are.
const process = globalThis.process;
for (const [descriptor, name] of ["stdin", "stdout", "stderr"].entries()) {
  replace(process, name, { fd: descriptor });
}
const [mode, pyodide, snapshot] = process.argv.slice(2);
const read = fs.readSync;
const write = fs.writeSync;
const exit = globalThis.Deno?.exit ?? process.reallyExit.bind(process);
const isNode = globalThis.Deno === undefined;

if (isNode) {
  // Emscripten asks for these constants; under node's permissions the real binding cannot be asked.
  const constants = { fs: { ...fs.constants } };
  process.binding = (name) => (name === "constants" ? constants : deny());
}

// The whole of `js` for Python. Functions are wrapped, so that no program holds one that this file uses.
const globals = Object.assign(Object.create(null), {
  setTimeout: (f, ms) => setTimeout(f, ms),
  clearTimeout: (id) => clearTimeout(id),
  setInterval: (f, ms) => setInterval(f, ms),
  clearInterval: (id) => clearInterval(id),
  Object,
  Array,
  Promise,
  AbortController,
});
const image = mode !== "serve" ? null : new Uint8Array(fs.readFileSync(snapshot));
if (image) makeRoom(image);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`).href);
const python = await loadPyodide({
  indexURL: `${pyodide}/`,
  env: { HOME: "/", PYTHONHASHSEED: "0", TZ: "UTC", LANG: "C.UTF-8" },
  jsglobals: globals,
  ...(image ? { _loadSnapshot: image } : { _makeSnapshot: mode === "make" }),
});

if (mode !== "serve") {
  try {
    putFiles();
    writeAll(mode === "make" ? makeSnapshot() : compileWheels());
    exit(0);
  } catch (error) {
    write(2, `${error?.message ?? error}`.trimEnd().split("\n").at(-1));
    exit(1);
  }
} else {
  serve();
}

// Pyodide copies a snapshot into a memory of the first size, and packages may have made it grow. The second word of a
// snapshot tells where the memory's content begins.
function makeRoom(image) {
  const bytes = image.length - new Uint32Array(image.buffer, image.byteOffset, 2)[1];
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const instantiate = WebAssembly[name].bind(WebAssembly);
    WebAssembly[name] = async (...rest) => {
      const result = await instantiate(...rest);
      const memory = (result.instance ?? result).exports.memory;
      const lacking = bytes - (memory?.buffer.byteLength ?? bytes);
      if (lacking > 0) memory.grow(Math.ceil(lacking / 65536));
      return result;
    };
  }
}

function putFiles() {
  const files = JSON.parse(fs.readFileSync(0, "utf8"));
  for (const [path, content] of Object.entries(files)) {
    python.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")));
    python.FS.writeFile(path, new Uint8Array(Buffer.from(content, "base64")));
  }
}

function makeSnapshot() {
  python.runPython(python.FS.readFile("/boot.py", { encoding: "utf8" }));
  python.runPython("prepare()");
  return python.makeMemorySnapshot();
}

function compileWheels() {
  python.runPython(python.FS.readFile("/wheels.py", { encoding: "utf8" }));
  return Buffer.from(python.runPython("compile_wheels('/packages')"));
}

function writeAll(rest) {
  while (rest.length > 0) {
    rest = rest.subarray(write(1, rest));
  }
}

function serve() {
  python.setStdin({ error: true });
  python.setStdout({ write: (data) => data.length });
  python.setStderr({ write: (data) => data.length });
  const run = python.globals.get("serve");
  takeAway();
  // What is read and written goes through one array in Python's memory, which may move when that grows; a proxy for each
  // piece would take longer than the piece.
  let place = 0;
  let length = 0;
  const attach = (array) => {
    const { byteOffset, byteLength } = array.getBuffer("u8").data;
    [place, length] = [byteOffset, byteLength];
  };
  const bytes = (size) => python._module.HEAPU8.subarray(place, place + Math.min(size, length));
  const receive = (size) => {
    try {
      return read(0, bytes(size));
    } catch (error) {
      if (error.code === "EOF") return 0;
      throw error;
    }
  };
  const send = (size) => write(1, bytes(size));
  try {
    run(attach, receive, send, exit);
    exit(1);
  } catch (error) {
    if (typeof error?.status !== "number") write(2, `${error}\n`);
    exit(error?.status ?? 1);
  }
}

function takeAway() {
  python.unregisterJsModule("pyodide_js");
  python.mountNodeFS = undefined;
  delete python.FS.filesystems.NODEFS;
  delete python.FS.filesystems.NODERAWFS;
  // A file in memory would be memory that no limit of the program counts.
  const refuse = () => {
    throw new python.FS.ErrnoError(2); // EACCES, as Emscripten numbers it
  };
  python.FS.lookupPath = refuse;
  python.FS.createStream = refuse;
  for (const library of [childProcess, fs, fs.promises, module]) {
    for (const name of Object.keys(library)) {
      if (typeof library[name] === "function" && name !== "syncBuiltinESMExports") replace(library, name, deny);
    }
  }
  module.syncBuiltinESMExports?.();
  for (const name of Object.getOwnPropertyNames(process)) {
    if (typeof process[name] === "function") replace(process, name, deny);
  }
  replace(process, "env", {});
  replace(process, "mainModule", undefined);
  for (const name of ["fetch", "WebSocket", "EventSource", "XMLHttpRequest", "Worker", "navigator", "require", "Deno"]) {
    delete globalThis[name];
  }
}

function replace(object, name, value) {
  try {
    Object.defineProperty(object, name, { value, configurable: true, writable: true });
  } catch {
    // Not to be changed: the jail holds it.
  }
}

function deny() {
  throw new Error("not in this sandbox");
}
