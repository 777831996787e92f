// A WebSocket that comes back. Options and examples: docs/client.md of github.com/expedite-go/expedite

// What a close code means: "soon" and "later" connect again after a random time, "token" with another token, and
// "never" ends. Other codes from 3000 are "never", those below "later".
export const closeCodes = {
  1000: "never", // done
  1001: "soon", // idle
  1002: "never", // protocol error
  1003: "never", // unsupported data
  1005: "soon", // no code
  1006: "soon", // cut
  1007: "never", // invalid text
  1008: "later", // a rule is broken, such as a rate
  1009: "never", // too big
  1011: "later", // a handler failed
  1012: "soon", // the server restarts
  1013: "later", // overloaded, or too slow
  4401: "token", // expired or revoked
  4403: "never", // kicked
  4409: "never", // the session has another connection
  4429: "never", // too many of this user
}

const defaults = {
  protocols: [],
  tokenBy: "ticket", // "subprotocol" or "query"
  ticket: "/ticket",
  readyz: "/readyz",
  timeout: 10_000, // of a handshake, and of each request
  backoff: { floor: 100, base: 1000, cap: 30_000, reset: 10_000 },
  buffer: { messages: 256, bytes: 1 << 20, overflow: "drop-oldest" }, // or "error"
  closeCodes,
}

const longest = 2 ** 31 - 1 // of a timer

// refusal returns an error for an answer that is not 2xx.
function refusal({ status, headers }, path, body) {
  const after = headers.get("Retry-After") // seconds, or a date
  const wait = Math.max(0, after >= 0 ? after * 1000 : Date.parse(after) - Date.now()) || 0
  return Object.assign(new Error(body?.error?.message ?? `${path} answers ${status}`), { status, wait })
}

const sizeOf = data => data.byteLength ?? data.size ?? new TextEncoder().encode(data).length

// expiry returns when a JWT expires, in milliseconds.
function expiry(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).exp * 1000
  } catch {}
}

export class Expedite extends EventTarget {
  #url; #options; #state = "connecting"; #socket; #opened // when
  #attempt = 0; #earliest // of the next attempt
  #timer; #pulse; #renewal // of waiting, heartbeat and refresh
  #token; #refused = false // the last token was
  #known // the session of this connection is
  #queue = []; #queued = 0 // bytes
  #listening = new AbortController()
  dropped = 0
  binaryType = "arraybuffer"

  constructor(url, options = {}) {
    super()
    if (typeof url !== "function") new URL(url, globalThis.location?.href) // throws
    this.#url = url
    const all = this.#options = { ...defaults, ...options }
    for (const key of ["backoff", "buffer", "closeCodes"]) all[key] = { ...defaults[key], ...options[key] }
    this.session = options.resume
    for (const type of ["open", "message", "state", "close"]) this.addEventListener(type, e => this["on" + type]?.(e))
    const { signal } = this.#listening, wake = () => this.#wake()
    globalThis.addEventListener?.("online", wake, { signal })
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || wake(), { signal })
    queueMicrotask(() => this.#state === "closed" || this.#connect()) // the caller adds its listeners first
  }

  get state() { return this.#state }
  get readyState() { return { open: 1, closed: 3 }[this.#state] ?? 0 }
  get url() { return this.#socket?.url ?? "" }
  get protocol() { return this.#socket?.protocol ?? "" }
  get bufferedAmount() { return this.#queued + (this.#socket?.bufferedAmount ?? 0) }

  // send keeps a message until the connection is open.
  send(data) {
    if (this.#socket?.readyState === 1) return this.#socket.send(data)
    const { messages, bytes, overflow } = this.#options.buffer, size = sizeOf(data)
    const full = () => this.#queue.length >= messages || this.#queued + size > bytes
    if (overflow === "error" && full()) throw new Error("the buffer is full")
    if (this.#state === "closed" || messages < 1 || size > bytes) return void this.dropped++
    while (full()) {
      this.#queued -= this.#queue.shift().size
      this.dropped++
    }
    this.#queue.push({ data: structuredClone(data), size })
    this.#queued += size
  }

  close(code = 1000, reason = "") {
    if (this.#state === "closed") return
    this.#socket?.close(code, reason) // throws if they are not valid
    this.#end(code, reason)
  }

  async #connect() {
    const { protocols, timeout, WebSocket = globalThis.WebSocket } = this.#options
    this.#set("connecting")
    try {
      const url = new URL(typeof this.#url === "function" ? await this.#url() : this.#url, globalThis.location?.href)
      url.protocol = url.protocol.replace("http", "ws")
      url.hash = ""
      const offers = await this.#authorize(url, [protocols].flat())
      if (this.#state === "closed") return // meanwhile
      if (this.session) url.searchParams.set("session", this.session)
      this.#start(new WebSocket(url, offers), url)
      this.#timer = setTimeout(() => this.#lost(1006, "the handshake takes too long", url), timeout)
    } catch (error) {
      this.#failed(error)
    }
  }

  #start(socket, url) {
    this.#socket = socket
    socket.binaryType = this.binaryType
    socket.onopen = () => this.#open(socket)
    socket.onmessage = event => this.#message(event)
    socket.onclose = event => this.#lost(event.code, event.reason, url)
    socket.onerror = () => this.#opened || this.#lost(1006, "", url) // in old Node.js no close follows
  }

  // authorize adds the token to the URL, or to the subprotocols: browsers cannot send it in a header.
  async #authorize(url, offers) {
    const { token, tokenBy, ticket } = this.#options
    this.#token = await token?.({ refused: this.#refused })
    if (!this.#token) return offers
    if (tokenBy === "subprotocol") return [...offers, "bearer." + this.#token]
    if (tokenBy === "query") url.searchParams.set("access_token", this.#token)
    else url.searchParams.set("ticket", (await this.#ask(ticket, url)).ticket)
    return offers
  }

  // ask returns the object that the server of a WebSocket answers, or throws a refusal.
  async #ask(path, base) {
    const url = new URL(path, base), { ticket, timeout } = this.#options
    url.protocol = url.protocol.replace("ws", "http")
    const request = path === ticket ? { method: "POST", headers: { Authorization: "Bearer " + this.#token } } : {}
    const response = await fetch(url, { ...request, cache: "no-store", signal: AbortSignal.timeout(timeout) })
    const body = await response.json().catch(() => {})
    if (!response.ok) throw refusal(response, path, body)
    return body
  }

  #open(socket) {
    clearTimeout(this.#timer)
    this.#opened = Date.now()
    this.#known = this.#refused = false
    this.#renew()
    this.#beat()
    this.#set("open")
    this.#emit("open")
    while (this.#queue.length && socket.readyState === 1) {
      const { data, size } = this.#queue.shift()
      this.#queued -= size
      socket.send(data)
    }
  }

  #message({ data, origin }) {
    this.#beat()
    try {
      const id = !this.#known && this.#options.session?.(data)
      if (id) [this.session, this.#known] = [id, true]
    } catch {} // not the message that has it
    this.#emit("message", { data, origin })
  }

  // lost acts on the end of a connection, or of a handshake.
  #lost(code, reason, url) {
    const opened = this.#opened, { backoff, closeCodes, token } = this.#options
    this.#drop()
    if (!opened) return this.#explain(url, reason || "the handshake failed")
    if (Date.now() - opened >= backoff.reset) this.#attempt = 0
    const then = closeCodes[code] ?? (code < 3000 ? "later" : "never")
    if (then === "never" || (then === "token" && !token)) return this.#end(code, reason)
    this.#refused = then === "token"
    this.#wait(then === "later" ? backoff.base : 0, code, reason)
  }

  // explain asks why a handshake has failed, because browsers do not tell.
  async #explain(url, reason) {
    const { readyz, ticket, tokenBy } = this.#options
    let error = new Error(reason)
    try {
      if (readyz) await this.#ask(readyz, url)
      if (this.#token && tokenBy !== "ticket") await this.#ask(ticket, url)
    } catch (e) {
      if (![403, 404, 405].includes(e.status)) error = e // with these one may not ask
    }
    this.#failed(error)
  }

  // failed acts on what has prevented a connection.
  #failed({ message, status = 0, wait = 0 }) {
    if (this.#state === "closed") return
    const code = status ? 4000 + status : 1006
    const final = status === 401 ? this.#refused || !this.#options.token : [400, 403, 404, 405].includes(status)
    if (final) return this.#end(code, message)
    this.#refused ||= status === 401
    this.#wait(wait, code, message)
  }

  // wait connects again after at least some milliseconds, and a random time that grows with each attempt.
  #wait(least, code, reason) {
    const { floor, base, cap } = this.#options.backoff
    if (least) this.#attempt = Math.max(this.#attempt, 2)
    const delay = Math.max(least, floor) + Math.random() * Math.min(cap, base * 2 ** this.#attempt++)
    this.#earliest = Date.now() + least
    this.#schedule(delay)
    this.#set("waiting", { code, reason, delay })
  }

  #schedule(delay) {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#connect(), Math.min(delay, longest))
  }

  // wake is called when the network is back or the page is visible again.
  #wake() {
    const { floor, base } = this.#options.backoff
    if (this.#state === "open") this.#beat(0)
    if (this.#state !== "waiting") return
    this.#attempt = 0
    this.#schedule(Math.max(this.#earliest - Date.now(), floor) + Math.random() * base)
  }

  // beat asks for a sign of life after a silence.
  #beat(every = this.#options.heartbeat?.every ?? 25_000) {
    const { heartbeat } = this.#options
    if (!heartbeat) return
    clearTimeout(this.#pulse)
    this.#pulse = setTimeout(() => {
      this.#socket.send(heartbeat.message)
      this.#pulse = setTimeout(() => this.#lost(1006, "no sign of life"), heartbeat.within ?? 10_000)
    }, every)
  }

  // renew sends another token before this one expires.
  #renew() {
    const { token, refresh } = this.#options, left = expiry(this.#token) - Date.now(), socket = this.#socket
    if (!refresh || !(left > 0)) return
    this.#renewal = setTimeout(async () => {
      try {
        const next = await token({ refused: false })
        if (socket !== this.#socket || next === this.#token) return
        socket.send(refresh(this.#token = next))
        this.#renew()
      } catch {} // the server closes with 4401
    }, Math.min(left * 0.8, longest))
  }

  #drop() {
    for (const timer of [this.#timer, this.#pulse, this.#renewal]) clearTimeout(timer)
    const socket = this.#socket
    this.#socket = this.#opened = undefined
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = () => {} // ws throws errors that nobody hears
    socket.close()
  }

  #end(code, reason) {
    this.#drop()
    this.#listening.abort()
    this.dropped += this.#queue.length
    this.#queue = []
    this.#queued = 0
    this.#set("closed", { code, reason })
    this.#emit("close", { code, reason })
  }

  #set(state, detail) {
    this.#state = state
    this.#emit("state", { state, ...detail })
  }

  #emit(type, detail) {
    this.dispatchEvent(Object.assign(new Event(type), detail))
  }
}
