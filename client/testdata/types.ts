// Uses every name of expedite.d.ts as an application does. tsc checks it.
import { Expedite, closeCodes, type Options, type State, type Then } from "expedite-client"

class Other {
  constructor(readonly url: URL, readonly protocols: string[]) {}
}

const options: Options = {
  protocols: ["chat.v1"],
  token: async ({ refused }) => (refused ? "new" : undefined),
  tokenBy: "subprotocol",
  ticket: "/ticket",
  refresh: token => JSON.stringify({ type: "refresh", token }),
  readyz: false,
  session: data => JSON.parse(data).session,
  resume: "id",
  timeout: 5000,
  backoff: { cap: 10_000 },
  buffer: { messages: 10, overflow: "error" },
  heartbeat: { message: "ping", every: 10_000 },
  closeCodes: { 1008: "never" },
  WebSocket: Other,
}

const client = new Expedite(() => "wss://example.com/chat", options)
client.binaryType = "blob"
client.onopen = () => client.send(new Uint8Array([1]))
client.onmessage = event => console.log(event.data)
client.onclose = ({ code, reason }) => console.log(code.toFixed(), reason.length)
client.addEventListener("state", event => {
  const state: State = event.state
  console.log(state, event.delay?.toFixed(), event.code, event.reason)
})
const then: Then = closeCodes[1012]
console.log(client.state, client.readyState === 1, client.url, client.protocol, client.bufferedAmount, client.dropped)
console.log(client.session?.length, then)
client.close(1000, "done")

// @ts-expect-error: not a way to send a token
new Expedite("ws://example.com", { tokenBy: "header" })
// @ts-expect-error: not an event
client.onopened = () => {}
// @ts-expect-error: read only
client.dropped = 0
// @ts-expect-error: not a message
client.send({ type: "object" })
