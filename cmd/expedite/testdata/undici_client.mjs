// The npm package undici against the server, with the interface of browsers: node undici_client.mjs ws://host:port
import assert from "node:assert"
import { WebSocket } from "undici"

const base = process.argv[2]

async function open(path) {
  const ws = new WebSocket(base + path)
  ws.binaryType = "arraybuffer"
  const heard = [], waiting = []
  ws.onmessage = e => waiting.length ? waiting.shift()(e.data) : heard.push(e.data)
  ws.next = () => heard.length ? Promise.resolve(heard.shift()) : new Promise(r => waiting.push(r))
  await new Promise((r, f) => { ws.onopen = r; ws.onerror = e => f(e.error) })
  return ws
}

const echo = await open("/echo")
for (const size of [0, 1, 125, 126, 65535, 65536, 300000]) {
  const data = new Uint8Array(size).fill(7)
  echo.send(data)
  assert.deepEqual(new Uint8Array(await echo.next()), data, `echo of ${size} bytes`)
}
echo.send("日本語 🚀")
assert.equal(await echo.next(), "日本語 🚀")

const a = await open("/"), b = await open("/")
for (const ws of [a, b]) assert.equal(JSON.parse(await ws.next()).workers, 2)
b.send("hello")
for (const ws of [a, b]) assert.equal(await ws.next(), "hello")

const closed = new Promise(r => (echo.onclose = r))
echo.close(1000, "bye")
const e = await closed
assert.equal(e.code, 1000)
assert.equal(e.wasClean, true)
a.close()
b.close()
console.log("all fine")
