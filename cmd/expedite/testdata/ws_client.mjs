// The npm package ws against the server: node ws_client.mjs ws://host:port
import assert from "node:assert"
import { once } from "node:events"
import WebSocket from "ws"

const base = process.argv[2]

async function open(path, options) {
  const ws = new WebSocket(base + path, options)
  ws.heard = []
  ws.on("message", (data, binary) => {
    const waiter = ws.waiter
    ws.waiter = undefined
    if (waiter) waiter({ data, binary })
    else ws.heard.push({ data, binary })
  })
  ws.next = () => ws.heard.length ? Promise.resolve(ws.heard.shift()) : new Promise(r => (ws.waiter = r))
  await once(ws, "open")
  return ws
}

const echo = await open("/echo", { perMessageDeflate: true }) // offered, and properly not taken
assert.equal(echo.extensions, "")
for (const size of [0, 1, 125, 126, 65535, 65536, 1000000]) {
  const data = Buffer.alloc(size, "expedite")
  echo.send(data)
  const got = await echo.next()
  assert.ok(got.binary && data.equals(got.data), `echo of ${size} bytes`)
}
const text = "naïve café, 日本語, 🚀 ".repeat(1000)
echo.send(text)
assert.equal((await echo.next()).data.toString(), text)

// Fragments, with a ping between them.
echo.send("one ", { fin: false })
const pong = once(echo, "pong")
echo.ping("are you there?")
echo.send("two", { fin: true })
assert.equal((await pong)[0].toString(), "are you there?")
assert.equal((await echo.next()).data.toString(), "one two")

// Many at once come back in order.
for (let i = 0; i < 10000; i++) echo.send(String(i))
for (let i = 0; i < 10000; i++) assert.equal((await echo.next()).data.toString(), String(i))

// The lobby: two clients hear each other and themselves.
const a = await open("/"), b = await open("/")
for (const ws of [a, b]) {
  const welcome = JSON.parse((await ws.next()).data)
  assert.equal(welcome.type, "welcome")
  assert.match(welcome.connection, /^[0-9a-f]{16}$/)
}
a.send("hello")
for (const ws of [a, b]) assert.equal((await ws.next()).data.toString(), "hello")

// The closing handshake echoes the code.
const closed = once(echo, "close")
echo.close(4001, "done")
assert.equal((await closed)[0], 4001)
for (const ws of [a, b]) ws.close()
console.log("all fine")
