// Runs expedite.js in Node.js: node jsclient_runner.mjs PATH [ws]. Each line of input is a script as JSON, each line of
// output its value, or an error. With ws the sockets are those of the npm package, else the global ones.
import readline from "node:readline"
import { pathToFileURL } from "node:url"

const [path, library] = process.argv.slice(2)
globalThis.Expedite = (await import(pathToFileURL(path))).Expedite
globalThis.common = library ? { WebSocket: (await import(library)).WebSocket } : {}
for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    console.log(JSON.stringify({ value: (await (0, eval)(JSON.parse(line))) ?? null }))
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.stack ?? error) }))
  }
}
