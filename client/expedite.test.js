// The rules of the client, with a clock, sockets and answers of the test: `node --test`. `go test` runs them, too.
// cmd/expedite/jsclient_linux_test.go runs the client against the server.
import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { Expedite, closeCodes } from "./expedite.js"

const real = { setTimeout, clearTimeout, now: Date.now, random: Math.random, fetch: globalThis.fetch }
let now, timers, sockets, requests, answer, random

class FakeSocket {
  constructor(url, offers) {
    if (offers.includes("")) throw new SyntaxError("bad subprotocol")
    Object.assign(this, { url: String(url), offers, readyState: 0, bufferedAmount: 0, protocol: offers[0], sent: [] })
    sockets.push(this)
  }
  open() {
    this.readyState = 1
    this.onopen?.({})
  }
  receive(data) { this.onmessage?.({ data, origin: "ws://server" }) }
  end(code, reason = "") {
    this.readyState = 3
    this.onclose?.({ code, reason })
  }
  send(data) { this.sent.push(data) }
  close(code, reason) {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code < 5000)) throw new Error("bad code")
    this.readyState = 3
    this.closedWith ??= [code, reason]
  }
}

beforeEach(() => {
  [now, timers, sockets, requests, random] = [1_000_000, new Map(), [], [], () => 0.5]
  answer = () => ({ status: 200, body: {} })
  let last = 0
  globalThis.setTimeout = (f, delay = 0) => {
    assert.ok(delay >= 0 && delay < 2 ** 31, `a timer of ${delay} ms`)
    timers.set(++last, { f, at: now + delay })
    return last
  }
  globalThis.clearTimeout = id => timers.delete(id)
  Date.now = () => now
  Math.random = () => random()
  globalThis.fetch = async (url, request) => {
    requests.push({ url: String(url), ...request })
    const { status, body, headers } = await answer(String(url), request)
    return { status, ok: status < 300, headers: new Headers(headers), json: async () => body ?? JSON.parse("<html>") }
  }
})

afterEach(() => {
  [globalThis.setTimeout, globalThis.clearTimeout, globalThis.fetch] = [real.setTimeout, real.clearTimeout, real.fetch]
  Object.assign(Date, { now: real.now })
  Object.assign(Math, { random: real.random })
})

// settle lets everything happen that waits for no timer.
const settle = () => new Promise(done => setImmediate(() => setImmediate(done)))

// advance lets time pass.
async function advance(ms) {
  const end = now + ms
  for (;;) {
    await settle()
    const [id, next] = [...timers].sort((a, b) => a[1].at - b[1].at)[0] ?? []
    if (!next || next.at > end) break
    now = next.at
    timers.delete(id)
    next.f()
  }
  now = end
  await settle()
}

// start returns a client whose events are collected.
function start(options, url = "ws://server/chat") {
  const client = new Expedite(url, { WebSocket: FakeSocket, ...options })
  client.events = []
  for (const type of ["open", "message", "state", "close"]) client.addEventListener(type, e => client.events.push(e))
  client.named = type => client.events.filter(e => e.type === type)
  client.waits = () => client.events.filter(e => e.state === "waiting").map(e => e.delay)
  return client
}

// opened returns a client that is connected.
async function opened(options, url) {
  const client = start(options, url)
  await settle()
  sockets.at(-1).open()
  return client
}

test("it is like a WebSocket", async () => {
  const seen = []
  const client = start({ protocols: "chat.v1" }, "http://server/chat?room=go#top")
  client.onopen = () => seen.push("open")
  client.onmessage = e => seen.push(e.data)
  client.onclose = e => seen.push(e.code)
  assert.deepEqual([client.state, client.readyState, sockets.length], ["connecting", 0, 0])
  await settle()
  assert.deepEqual([sockets[0].url, sockets[0].offers], ["ws://server/chat?room=go", ["chat.v1"]])
  sockets[0].open()
  assert.deepEqual([client.state, client.readyState, client.url], ["open", 1, "ws://server/chat?room=go"])
  sockets[0].bufferedAmount = 7
  assert.deepEqual([client.protocol, client.bufferedAmount], ["chat.v1", 7])
  const bytes = new Uint8Array([1, 2])
  client.send("hi")
  client.send(bytes)
  assert.deepEqual(sockets[0].sent, ["hi", bytes])
  assert.equal(sockets[0].binaryType, "arraybuffer")
  sockets[0].receive("hello")
  client.close(4000, "bye")
  assert.deepEqual(sockets[0].closedWith, [4000, "bye"])
  assert.deepEqual([client.state, client.readyState, seen], ["closed", 3, ["open", "hello", 4000]])
  assert.deepEqual([client.url, client.protocol, client.bufferedAmount], ["", "", 0])
  client.close()
  await advance(3_600_000)
  assert.equal(sockets.length, 1)
  assert.equal(client.named("close").length, 1)
  assert.equal(timers.size, 0)
})

test("a bad URL and a bad close code are errors of the caller", async () => {
  assert.throws(() => new Expedite("no url", { WebSocket: FakeSocket }), TypeError)
  const client = await opened()
  assert.throws(() => client.close(1001))
  assert.equal(client.state, "open")
  client.close()
})

test("a handshake that cannot begin is tried again, later and later", async () => {
  const client = start({ protocols: [""] })
  await advance(60_000)
  assert.deepEqual(client.events[1].reason, "bad subprotocol")
  assert.deepEqual(client.waits().slice(0, 4), [600, 1100, 2100, 4100])
  client.close()
})

test("each close code does what the table says", async () => {
  for (const [code, then] of [...Object.entries(closeCodes), [1014, "later"], [3000, "never"], [4000, "never"]]) {
    const client = await opened({ token: () => "t", tokenBy: "query" })
    const before = sockets.length
    sockets.at(-1).end(+code, "why")
    const { state, reason, delay } = client.events.at(then === "never" ? -2 : -1)
    assert.deepEqual([state, reason], [then === "never" ? "closed" : "waiting", "why"], code)
    if (then !== "never") assert.equal(delay, then === "later" ? 3000 : 600, code)
    await advance(delay ?? 60_000)
    assert.equal(sockets.length - before, then === "never" ? 0 : 1, code)
    client.close()
  }
})

test("an application can change the table", async () => {
  const client = await opened({ closeCodes: { 1008: "soon", 1012: "never", 4404: "soon" } })
  sockets[0].end(1008)
  await advance(10_000)
  sockets[1].open()
  sockets[1].end(4404)
  await advance(10_000)
  sockets[2].open()
  sockets[2].end(1012)
  assert.equal(client.state, "closed")
})

test("waits grow to a cap, and begin anew after a connection that was open for a while", async () => {
  random = () => 1 - 1e-9
  const client = start()
  const fail = async () => {
    await settle()
    sockets.at(-1).end(1006)
    await settle()
    await advance(client.waits().at(-1))
  }
  for (let i = 0; i < 8; i++) await fail()
  assert.deepEqual(client.waits().map(Math.round), [1100, 2100, 4100, 8100, 16100, 30100, 30100, 30100])
  sockets.at(-1).open()
  await advance(9_999)
  await fail()
  assert.equal(Math.round(client.waits().at(-1)), 30100)
  sockets.at(-1).open()
  await advance(10_000)
  await fail()
  assert.equal(Math.round(client.waits().at(-1)), 1100)
  client.close()
})

test("fifty clients do not come at once", async () => {
  let seed = 7
  random = () => (seed = seed * 48271 % 2147483647) / 2147483647
  const clients = await Promise.all(Array.from({ length: 50 }, () => opened()))
  await settle()
  for (const s of sockets) if (s.readyState === 0) s.open()
  for (const s of sockets) s.end(1012)
  const delays = clients.map(c => c.waits()[0]).sort((a, b) => a - b)
  assert.ok(delays[0] >= 100 && delays[49] <= 1100, `${delays}`)
  for (let tenth = 0; tenth < 10; tenth++) {
    const from = 100 + tenth * 100, n = delays.filter(d => d >= from && d < from + 100).length
    assert.ok(n >= 1 && n <= 12, `${n} of 50 clients come between ${from} and ${from + 100} ms`)
  }
  for (const c of clients) c.close()
})

test("after Retry-After, clients do not come at once either", async () => {
  answer = () => ({ status: 503, headers: { "Retry-After": "5" } })
  const delays = []
  for (let i = 0; i < 10; i++) {
    random = () => i / 10
    const client = start()
    await settle()
    sockets.at(-1).end(1006)
    await settle()
    delays.push(client.waits()[0])
    client.close()
  }
  assert.deepEqual(delays, [5000, 5400, 5800, 6200, 6600, 7000, 7400, 7800, 8200, 8600])
})

test("a failed handshake asks /readyz, and obeys", async () => {
  const unknown = { state: "waiting", code: 1006, reason: "the handshake failed", delay: 600 }
  for (const [name, reply, options, want] of [
    ["ready", { status: 200, body: {} }, {}, unknown],
    ["not there", { status: 404 }, {}, unknown],
    ["hidden", { status: 403 }, {}, unknown],
    ["draining", { status: 503, body: {}, headers: { "Retry-After": "7" } }, {},
      { state: "waiting", code: 4503, reason: "/readyz answers 503", delay: 9000 }],
    ["too many", { status: 429, body: { error: { message: "slowly" } }, headers: { "Retry-After": "60" } }, {},
      { state: "waiting", code: 4429, reason: "slowly", delay: 62_000 }],
    ["a date", { status: 503, headers: { "Retry-After": new Date(1_020_000).toUTCString() } }, {},
      { state: "waiting", code: 4503, reason: "/readyz answers 503", delay: 22_000 }],
    ["a date that is over", { status: 503, headers: { "Retry-After": new Date(0).toUTCString() } }, {},
      { state: "waiting", code: 4503, reason: "/readyz answers 503", delay: 600 }],
    ["nonsense", { status: 503, headers: { "Retry-After": "soon" } }, {},
      { state: "waiting", code: 4503, reason: "/readyz answers 503", delay: 600 }],
    ["sign in", { status: 401 }, {}, { state: "closed", code: 4401, reason: "/readyz answers 401", delay: undefined }],
    ["sign in, with a token", { status: 401 }, { token: () => "t", tokenBy: "query" },
      { state: "waiting", code: 4401, reason: "/readyz answers 401", delay: 600 }],
    ["another path", { status: 503 }, { readyz: "/up" },
      { state: "waiting", code: 4503, reason: "/up answers 503", delay: 600 }],
  ]) {
    answer = () => reply
    requests = []
    const client = start(options, "wss://server/chat?x=1")
    await settle()
    sockets.at(-1).end(1006)
    await settle()
    const { state, code, reason, delay } = client.named("state").at(-1)
    assert.deepEqual({ state, code, reason, delay }, want, name)
    assert.equal(requests[0].url, "https://server" + (options.readyz ?? "/readyz"), name)
    assert.equal(requests[0].method, undefined, name)
    assert.equal(requests.length, 1, name)
    client.close()
  }
})

test("without readyz nobody is asked, and an unreachable server is tried again", async () => {
  const client = start({ readyz: false })
  await settle()
  sockets[0].end(1006)
  await settle()
  assert.deepEqual([requests.length, client.state], [0, "waiting"])
  client.close()
  answer = () => { throw new TypeError("fetch failed") }
  const other = start()
  await settle()
  sockets[1].end(1006)
  await settle()
  assert.equal(other.named("state").at(-1).reason, "fetch failed")
  other.close()
})

test("a handshake without an answer ends after a time", async () => {
  const client = start()
  await advance(9_999)
  assert.equal(client.state, "connecting")
  await advance(1)
  assert.deepEqual([client.state, client.events.at(-1).reason], ["waiting", "the handshake takes too long"])
  const late = sockets[0]
  await advance(600)
  late.open()
  late.receive("late")
  assert.deepEqual([client.state, sockets.length, client.named("message").length], ["connecting", 2, 0])
  client.close()
})

test("an error ends a handshake, also if no close follows, but not a connection", async () => {
  const client = start()
  await settle()
  sockets[0].onerror()
  sockets[0].onerror()
  sockets[0].end(1006)
  await settle()
  assert.deepEqual([client.named("state").length, client.state], [2, "waiting"])
  await advance(600)
  sockets[1].open()
  sockets[1].onerror()
  assert.equal(client.state, "open")
  client.close()
})

test("tokens are sent as tickets, subprotocols, or in the query", async () => {
  answer = () => ({ status: 200, body: { ticket: "once" } })
  await opened({ token: async () => "t" })
  assert.deepEqual([sockets[0].url, sockets[0].offers], ["ws://server/chat?ticket=once", []])
  const { url, method, headers } = requests[0]
  assert.deepEqual([url, method, headers], ["http://server/ticket", "POST", { Authorization: "Bearer t" }])
  sockets[0].end(1006)
  await advance(600)
  sockets[1].end(1006) // a ticket was given for the token: it is not asked about again
  await settle()
  assert.deepEqual(requests.map(r => new URL(r.url).pathname), ["/ticket", "/ticket", "/readyz"])
  sockets.length = 1
  await opened({ token: () => "t", tokenBy: "subprotocol", protocols: ["chat.v1"] })
  assert.deepEqual([sockets[1].url, sockets[1].offers], ["ws://server/chat", ["chat.v1", "bearer.t"]])
  await opened({ token: () => "t", tokenBy: "query" }, "ws://server/chat?room=go")
  assert.equal(sockets[2].url, "ws://server/chat?room=go&access_token=t")
  await opened({ token: () => undefined })
  assert.equal(sockets[3].url, "ws://server/chat")
})

test("a refused token is replaced once; a second one ends", async () => {
  const asked = []
  const token = ({ refused }) => (asked.push(refused), "t" + asked.length)
  answer = (_, { headers }) => headers.Authorization === "Bearer t2"
    ? { status: 200, body: { ticket: "once" } }
    : { status: 401, body: { error: { message: "expired" } } }
  const client = start({ token })
  await settle()
  assert.deepEqual([client.state, client.events.at(-1).reason, client.waits()[0]], ["waiting", "expired", 600])
  await advance(600)
  sockets[0].open()
  assert.deepEqual([client.state, asked], ["open", [false, true]])
  sockets[0].end(4401, "revoked")
  await advance(client.waits().at(-1))
  const { code, reason } = client.named("close")[0]
  assert.deepEqual([code, reason, asked], [4401, "expired", [false, true, true]])
})

test("tokens that are not sent as tickets are explained by the same question", async () => {
  answer = url => url.endsWith("/ticket") ? { status: 401, body: { error: { message: "revoked" } } } : { status: 200 }
  const client = start({ token: () => "t", tokenBy: "subprotocol", protocols: "v1" })
  for (let i = 0; i < 2; i++) {
    await settle()
    sockets[i].end(1006)
    await settle()
    await advance(600)
  }
  assert.deepEqual([client.state, client.events.at(-1).reason, sockets.length], ["closed", "revoked", 2])
})

test("an expired token without a function for another one ends", async () => {
  const client = await opened()
  sockets[0].end(4401, "token expired")
  assert.deepEqual([client.state, client.events.at(-1).code], ["closed", 4401])
})

test("functions that fail are called again later", async () => {
  let calls = 0
  const client = start({
    tokenBy: "query",
    token: () => { if (calls++ < 2) throw new SyntaxError("a page of HTML"); return "t" },
  }, async () => "ws://server/at/" + calls)
  await advance(5_000)
  assert.deepEqual([sockets[0].url, client.events[1].reason], ["ws://server/at/2?access_token=t", "a page of HTML"])
  client.close()
})

test("a token is replaced before it expires, if the application has a message for it", async () => {
  const jwt = (exp, n) => `h.${Buffer.from(JSON.stringify({ exp, n, x: "ÿ>?" })).toString("base64url")}.s`
  let n = 0
  const token = () => jwt(Math.floor(now / 1000) + 100, n++)
  const client = await opened({ token, tokenBy: "query", refresh: t => "refresh " + t })
  await advance(79_999)
  assert.equal(sockets[0].sent.length, 0)
  await advance(1)
  assert.deepEqual(sockets[0].sent, ["refresh " + jwt(1180, 1)])
  await advance(80_000)
  assert.deepEqual([sockets[0].sent.length, sockets.length], [2, 1])
  client.close()
  const years = await opened({ token: () => jwt(9e9, 1), tokenBy: "query", refresh: t => t })
  await advance(5_000)
  assert.equal(sockets.at(-1).sent.length, 0)
  years.close()
  const failing = await opened({
    token: ({ n } = {}) => { if (sockets.length > 2) throw new Error("away"); return jwt(now / 1000 + 100, n) },
    tokenBy: "query", refresh: t => t,
  })
  await advance(90_000)
  assert.equal(failing.state, "open") // until the server ends it
  failing.close()
})

test("a refresh belongs to its connection, and the same token is not sent again", async () => {
  const jwt = n => `h.${btoa(JSON.stringify({ exp: 1100, n }))}.s`
  const asked = []
  let go
  const token = about => (asked.push(about.refused), asked.length === 2 ? new Promise(done => go = done) : jwt(1))
  const client = await opened({ token, tokenBy: "query", refresh: t => "refresh " + t })
  await advance(80_000)
  sockets[0].end(1012)
  await advance(600)
  sockets[1].open()
  go(jwt(2))
  await settle()
  assert.deepEqual(sockets[1].sent, []) // it was for the first connection
  await advance(19_000)
  assert.deepEqual([sockets[1].sent, asked], [[], [false, false, false, false]])
  client.close()
})

test("the page that is shown again asks for a sign of life at once", async () => {
  let wake
  globalThis.addEventListener = (type, f) => { wake = f }
  try {
    const client = await opened({ heartbeat: { message: "ping" } })
    wake()
    await advance(0)
    assert.deepEqual(sockets[0].sent, ["ping"])
    client.close()
  } finally {
    delete globalThis.addEventListener
  }
})

test("a session is resumed", async () => {
  const session = data => { const m = JSON.parse(data); return m.type === "welcome" && m.session }
  const client = await opened({ session, resume: "first" })
  assert.equal(sockets[0].url, "ws://server/chat?session=first")
  sockets[0].receive("no JSON")
  sockets[0].receive(`{"type":"welcome","session":"abc"}`)
  sockets[0].receive(`{"type":"welcome","session":"from another client"}`)
  assert.equal(client.session, "abc")
  assert.equal(client.named("message").length, 3)
  sockets[0].end(1006)
  await advance(600)
  assert.equal(sockets[1].url, "ws://server/chat?session=abc")
  sockets[1].open()
  sockets[1].receive(`{"type":"welcome","session":"new, since that had ended"}`)
  assert.equal(client.session, "new, since that had ended")
  client.close()
})

test("messages are kept until the connection is open, in their order, and not longer", async () => {
  const client = start()
  const bytes = new Uint8Array([1, 2, 3])
  client.send("one")
  client.send(bytes)
  bytes[0] = 9
  assert.equal(client.bufferedAmount, 6)
  client.onopen = () => client.send("from open")
  await settle()
  sockets[0].open()
  assert.deepEqual(sockets[0].sent, ["from open", "one", new Uint8Array([1, 2, 3])])
  assert.equal(client.bufferedAmount, 0)
  sockets[0].readyState = 2 // closing: a WebSocket would drop what is sent now
  client.send("two")
  sockets[0].end(1012)
  await advance(600)
  sockets[1].open()
  assert.deepEqual(sockets[1].sent, ["from open", "two"])
  sockets[1].end(1012)
  client.send("three")
  client.close()
  assert.equal(client.bufferedAmount, 0)
  client.send("four")
  assert.equal(client.dropped, 2)
})

test("the buffer has a limit of messages and of bytes", async () => {
  const client = start({ buffer: { messages: 3, bytes: 10 } })
  for (const m of ["a", "b", "c", "d", "ééééx", "too long for it"]) client.send(m)
  assert.deepEqual([client.dropped, client.bufferedAmount], [4, 10]) // a, b, c, and what is too long
  client.send("ten bytes.")
  assert.deepEqual([client.dropped, client.bufferedAmount], [6, 10])
  await settle()
  sockets[0].open()
  assert.deepEqual(sockets[0].sent, ["ten bytes."])
  client.close()

  const strict = start({ buffer: { messages: 1, overflow: "error" } })
  strict.send("a")
  assert.throws(() => strict.send("b"), /buffer is full/)
  assert.equal(strict.dropped, 0)
  strict.close()

  const none = start({ buffer: { messages: 0 } })
  none.send("a")
  assert.deepEqual([none.dropped, none.bufferedAmount], [1, 0])
  none.close()
})

test("the network and the page wake it up, but not before the time that the server asked for", async () => {
  const listeners = {}
  globalThis.addEventListener = (type, f, { signal }) => {
    listeners[type] = f
    signal.addEventListener("abort", () => delete listeners[type])
  }
  globalThis.document = { hidden: true, addEventListener: globalThis.addEventListener }
  try {
    const client = start()
    for (let i = 0; i < 6; i++) {
      await settle()
      sockets.at(-1).end(1006)
      await settle()
      if (i < 5) await advance(client.waits().at(-1))
    }
    assert.ok(client.waits().at(-1) > 15_000)
    listeners.visibilitychange()
    await advance(600)
    assert.equal(sockets.length, 6) // the page is hidden
    globalThis.document.hidden = false
    listeners.visibilitychange()
    await advance(599)
    assert.equal(sockets.length, 6)
    await advance(1)
    assert.equal(sockets.length, 7)
    listeners.online() // it is connecting
    await advance(5_000)
    assert.equal(sockets.length, 7)
    answer = () => ({ status: 503, headers: { "Retry-After": "20" } })
    sockets[6].end(1006)
    await settle()
    assert.equal(client.waits().at(-1), 22_000) // attempts count from zero
    listeners.online()
    await advance(19_999)
    assert.equal(sockets.length, 7)
    await advance(600)
    assert.equal(sockets.length, 8)
    client.close()
    assert.deepEqual(Object.keys(listeners), [])
  } finally {
    delete globalThis.addEventListener
    delete globalThis.document
  }
})

test("a heartbeat finds a connection that is dead", async () => {
  const client = await opened({ heartbeat: { message: "ping", every: 1000, within: 500 } })
  await advance(900)
  sockets[0].receive("x")
  await advance(999)
  assert.deepEqual(sockets[0].sent, [])
  await advance(1)
  assert.deepEqual(sockets[0].sent, ["ping"])
  sockets[0].receive("pong")
  await advance(1000)
  assert.equal(sockets[0].sent.length, 2)
  await advance(500)
  assert.deepEqual([client.state, client.events.at(-1).reason], ["waiting", "no sign of life"])
  assert.equal(sockets[0].readyState, 3)
  await advance(600)
  sockets[1].open()
  await advance(1000) // without a message
  assert.deepEqual(sockets[1].sent, ["ping"])
  client.close()
})

test("closed means closed, whatever was under way", async () => {
  const exp = `h.${btoa(JSON.stringify({ exp: 9000 }))}.s`
  const open = await opened({ token: () => exp, tokenBy: "query", refresh: t => t, heartbeat: { message: "ping" } })
  assert.equal(timers.size, 2)
  open.close()
  assert.equal(timers.size, 0)
  sockets.length = 0
  const before = start()
  before.close()
  await advance(1000)
  assert.equal(sockets.length, 0)
  let go
  const during = start({ tokenBy: "query", token: () => new Promise(done => go = done) })
  await settle()
  during.close()
  go("t")
  await advance(1000)
  assert.equal(sockets.length, 0)
  const asking = start()
  await settle()
  answer = () => new Promise(done => go = done)
  sockets[0].end(1006)
  await settle()
  asking.close()
  go({ status: 503, body: {} })
  await advance(60_000)
  assert.deepEqual([asking.state, asking.named("close").length, sockets.length], ["closed", 1, 1])
})
