// Hostile JavaScript: tries to reach the host by every way that node and deno have, and says which worked.
//   hostile.mjs PLAN      a JSON object: file, folder, variable, port, host (a process id), write (a path)
const plan = JSON.parse(globalThis.process.argv[2]);
const load = (name) => globalThis.process.getBuiltinModule?.(name) ?? import(name);
const { fs, childProcess, net } = {
  fs: await load("node:fs"),
  childProcess: await load("node:child_process"),
  net: await load("node:net"),
};

const connect = (options) =>
  new Promise((resolve, reject) => {
    const socket = net.connect(options, () => (socket.destroy(), resolve("connected")));
    socket.on("error", reject);
  });

const attempts = {
  "read a file": () => fs.readFileSync(plan.file, "utf8"),
  "read a file with a promise": () => fs.promises.readFile(plan.file, "utf8"),
  "read a file as a stream": () =>
    new Promise((resolve, reject) => fs.createReadStream(plan.file).on("data", resolve).on("error", reject)),
  "read a file with deno": () => globalThis.Deno.readTextFileSync(plan.file),
  "read a file through a link": () => (fs.symlinkSync(plan.file, `${plan.write}-l`), fs.readFileSync(`${plan.write}-l`)),
  "fetch a file": async () => (await fetch(`file://${plan.file}`)).text(),
  "import a file": () => import(`file://${plan.folder}/module.mjs`).then((module) => module.default),
  "list a folder": () => fs.readdirSync(plan.folder).length || nothing(),
  "read through /proc": () => fs.readFileSync(`/proc/${plan.host}/environ`, "utf8") || nothing(),
  "read through /proc/self/root": () => fs.readFileSync(`/proc/self/root${plan.file}`, "utf8"),
  "write a file": () => fs.writeFileSync(plan.write, "x") ?? "written",
  "write with deno": () => globalThis.Deno.writeTextFileSync(plan.write, "x") ?? "written",
  "the environment": () => globalThis.process.env[plan.variable] ?? nothing(),
  "the environment with deno": () => globalThis.Deno.env.get(plan.variable) ?? nothing(),
  "a command": () => childProcess.execSync("echo ran").toString(),
  "a command that writes": () => childProcess.spawnSync("touch", [plan.write]).status === 0 || nothing(),
  "a command with deno": () => new globalThis.Deno.Command("echo", { args: ["ran"] }).outputSync().stdout.length,
  "node in node": () => childProcess.fork(plan.file).pid ?? nothing(),
  "a connection": () => connect({ port: plan.port, host: "127.0.0.1" }),
  "a connection with deno": () => globalThis.Deno.connect({ port: plan.port }),
  "a request": async () => (await fetch(`http://127.0.0.1:${plan.port}/`)).status,
  "a web socket": () =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${plan.port}/`);
      socket.onopen = resolve;
      socket.onerror = reject;
    }),
  "the host is there": () => globalThis.process.kill(plan.host, 0),
  "the host is killed with deno": () => globalThis.Deno.kill(plan.host, "SIGCONT") ?? "sent",
  "a binding of node": () => globalThis.process.binding("fs").open(plan.file, 0, 0o666),
  "a library": () => globalThis.process.dlopen({ exports: {} }, plan.file) ?? "loaded",
  "code from text": () => new Function("return 1")(),
};

const nothing = () => {
  throw new Error("nothing there");
};
const timeout = () => new Promise((_, reject) => setTimeout(reject, 3000, new Error("no answer")));
const worked = {};
const failed = {};
for (const [name, attempt] of Object.entries(attempts)) {
  try {
    worked[name] = String(await Promise.race([attempt(), timeout()])).slice(0, 100);
  } catch (error) {
    failed[name] = String(error).slice(0, 200);
  }
}
fs.writeSync(1, JSON.stringify({ worked, failed }));
(globalThis.Deno?.exit ?? globalThis.process.exit)(0);
