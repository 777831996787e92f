// Node's zlib as the peer of one connection: reads lines of JSON, inflates the messages and deflates their plaintext.
const zlib = require('zlib')

const tail = Buffer.from([0, 0, 0xff, 0xff])

// run writes data to a stream, flushes it and resolves with what came out.
function run (stream, data) {
  return new Promise((resolve, reject) => {
    const out = []
    const take = piece => out.push(piece)
    stream.on('data', take)
    stream.once('error', reject)
    stream.write(data)
    stream.flush(zlib.constants.Z_SYNC_FLUSH, () => {
      stream.off('data', take)
      stream.off('error', reject)
      resolve(Buffer.concat(out))
    })
  })
}

async function answer (job) {
  const inflater = zlib.createInflateRaw({ windowBits: job.bits })
  const deflater = zlib.createDeflateRaw({ windowBits: job.bits, level: 9 })
  const inflated = []
  const deflated = []
  for (const message of job.messages) {
    const plain = await run(inflater, Buffer.concat([Buffer.from(message, 'base64'), tail]))
    inflated.push(plain.toString('base64'))
    const data = await run(deflater, plain)
    deflated.push(data.subarray(0, -4).toString('base64'))
  }
  return { inflated, deflated }
}

async function main () {
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(JSON.parse(line))))
  }
}

main().catch(err => { console.error(err); process.exit(1) })
