// The npm package ws with each set of parameters of permessage-deflate: node ws_deflate_client.mjs mode ws://host:port
import assert from "node:assert"
import { once } from "node:events"
import WebSocket from "ws"

const [mode, base] = process.argv.slice(2)

function chat(n, size) {
  const rooms = ["general", "random", "support"], words = "the quick brown fox jumps over a lazy dog".split(" ")
  let text = ""
  while (text.length < size) text += words[(n * 7 + text.length) % words.length] + " "
  return JSON.stringify({ type: "message", id: n, room: rooms[n % 3], user: "user-" + n % 11, text })
}

async function talk(options) {
  const ws = new WebSocket(base + "/echo", { perMessageDeflate: { threshold: 0, ...options } })
  const heard = [], waiting = []
  ws.on("message", data => waiting.length ? waiting.shift()(data) : heard.push(data))
  ws.on("close", (code, reason) => waiting.forEach(f => f("closed: " + code + " " + reason)))
  let answer = ""
  ws.on("upgrade", response => (answer = response.headers["sec-websocket-extensions"]))
  await once(ws, "open")
  assert.match(answer, /^permessage-deflate/)
  assert.equal(/server_no_context_takeover/.test(answer), mode === "shared" || !!options.serverNoContextTakeover)
  for (let i = 0; i < 150; i++) {
    const text = chat(i, i % 10 === 9 ? 60000 : 20 + i * 13 % 1500)
    ws.send(text, { compress: i % 7 !== 3 })
    const got = heard.length ? heard.shift() : await new Promise(r => waiting.push(r))
    assert.equal(got.toString(), text, `message ${i} with ${JSON.stringify(options)}`)
    await new Promise(r => setTimeout(r, 5)) // the server reloads meanwhile
  }
  ws.removeAllListeners("close")
  const closed = once(ws, "close")
  ws.close(1000)
  assert.equal((await closed)[0], 1000)
}

const all = []
for (const serverNoContextTakeover of [undefined, true])
  for (const clientNoContextTakeover of [undefined, true]) // false would refuse it
    for (const serverMaxWindowBits of [undefined, 9, 12])
      for (const clientMaxWindowBits of [undefined, 9, 15])
        all.push(talk({ serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits }))
await Promise.all(all)
console.log("all fine")
