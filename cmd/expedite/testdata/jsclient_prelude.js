// What the scripts of jsclient_linux_test.go use, in Node.js and in a page.

// follow creates a client that remembers what happens to it.
globalThis.follow = (url, options = {}) => {
  const client = new Expedite(url, { ...common, ...options })
  Object.assign(client, { states: [], heard: [], pongs: 0, at: "" })
  client.onstate = ({ state, code, reason, delay }) => client.states.push({ state, code, reason, delay })
  client.onmessage = ({ data }) => {
    if (data === "pong") client.pongs++
    else client.heard.push(data)
  }
  return globalThis.client = client
}

// until waits until check returns something, and returns it.
globalThis.until = check => new Promise(done => {
  const look = () => {
    const value = check()
    value ? done(value) : setTimeout(look, 10)
  }
  look()
})

// numbers returns those that clients have heard, which are messages like "n 17", alone or behind a position.
globalThis.numbers = () => client.heard.map(m => /\bn (\d+)$/.exec(m)).filter(Boolean).map(m => +m[1])

globalThis.names = () => client.states.map(s => s.state).join(" ")
true
