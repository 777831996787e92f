// The npm package undici, which offers permessage-deflate by itself: node undici_deflate_client.mjs mode ws://host:port
import assert from "node:assert"
import { WebSocket } from "undici"

const [mode, base] = process.argv.slice(2)
const ws = new WebSocket(base + "/echo")
const heard = [], waiting = []
ws.onmessage = e => waiting.length ? waiting.shift()(e.data) : heard.push(e.data)
await new Promise((r, f) => { ws.onopen = r; ws.onerror = e => f(e.error) })
assert.match(ws.extensions, /permessage-deflate/)
assert.equal(/server_no_context_takeover/.test(ws.extensions), mode === "shared")
for (let i = 0; i < 200; i++) {
  const text = JSON.stringify({ id: i, user: "user-" + i % 7, text: "the lazy dog sleeps ".repeat(1 + i % 60) })
  ws.send(text)
  assert.equal(heard.length ? heard.shift() : await new Promise(r => waiting.push(r)), text, `message ${i}`)
  await new Promise(r => setTimeout(r, 5)) // the server reloads meanwhile
}
const closed = new Promise(r => (ws.onclose = r))
ws.close(1000)
assert.equal((await closed).code, 1000)
console.log("all fine")
