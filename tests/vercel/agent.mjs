// An agent of the Vercel AI SDK that uses code mode over MCP: its model's words are given, everything else happens.
// node agent.mjs MODULES '{"url", "headers"}' or '{"command", "args", "env"}', then the model's turns, as JSON, on stdin.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const require = createRequire(process.argv[2] + "/");
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { generateText, isStepCount, stepCountIs } = await load("ai");
const { MockLanguageModelV4 } = await load("ai/test");
const { createMCPClient, ElicitationRequestSchema } = await load("@ai-sdk/mcp");
const { Experimental_StdioMCPTransport: Stdio } = await load("@ai-sdk/mcp/mcp-stdio");

const { url, headers, ...command } = JSON.parse(process.argv[3]);
const turns = JSON.parse(readFileSync(0, "utf8"));
const asked = [];

const client = await createMCPClient({
  transport: url ? { type: "http", url, headers } : new Stdio(command),
  capabilities: { elicitation: {} },
});
client.onElicitationRequest(ElicitationRequestSchema, async ({ params }) => {
  asked.push(params.message);
  return { action: "accept", content: { decision: "approve" } };
});

const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } };
let last = "";
const model = new MockLanguageModelV4({
  doGenerate: async ({ prompt, tools }) => {
    last = JSON.stringify(prompt.at(-1));
    const turn = turns.shift();
    if (typeof turn === "string") {
      return { content: [{ type: "text", text: turn }], finishReason: { unified: "stop" }, usage, warnings: [] };
    }
    const runId = /after='(\w+)'/.exec(last)?.[1];
    const input = JSON.stringify(turn).replace("RUN_ID", runId);
    const call = { type: "tool-call", toolCallId: `c${turns.length}`, toolName: "run_code", input };
    return { content: [call], finishReason: { unified: "tool-calls" }, usage, warnings: [] };
  },
});

try {
  const tools = await client.tools();
  const { text, steps } = await generateText({
    model,
    tools,
    prompt: "Write to everybody.",
    stopWhen: (isStepCount ?? stepCountIs)(10),
  });
  const results = steps.flatMap((step) => step.content).filter((part) => part.type.startsWith("tool-"));
  console.log(JSON.stringify({ text, tools: Object.keys(tools), asked, results, last }));
} finally {
  await client.close();
}
