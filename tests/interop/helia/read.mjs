// Reads a UnixFS directory from a gateway in two ways that share nothing with pnode, and prints
// both as JSON: block by block with Helia's client of trustless gateways, and as one CAR with
// @ipld/car. Every block is hashed here; Helia's own UnixFS puts the files together.
//
//   node read.mjs URL CID

import { trustlessGateway } from '@helia/block-brokers'
import { unixfs } from '@helia/unixfs'
import { CarBlockIterator } from '@ipld/car'
import { defaultLogger } from '@libp2p/logger'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import { createHash } from 'node:crypto'

const [url, text] = process.argv.slice(2)
const root = CID.parse(text)

async function check (cid, bytes) {
  const { digest } = await sha256.digest(bytes)
  if (Buffer.compare(digest, cid.multihash.digest) !== 0) {
    throw new Error(`block ${cid} has other bytes`)
  }
}

// A blockstore of nothing but a way to get blocks, which is all that reading asks for.
function reading (get) {
  return { get: async function * (cid) { yield get(cid) }, has: async () => true }
}

function fromGateway () {
  const { hostname, port } = new URL(url)
  const addresses = [multiaddr(`/ip4/${hostname}/tcp/${port}/http`)]
  const routing = { findProviders: async function * () { yield { multiaddrs: addresses } } }
  const broker = trustlessGateway({ allowInsecure: true, allowLocal: true })({
    logger: defaultLogger(), routing
  })
  return reading((cid) => broker.retrieve(cid, { validateFn: (bytes) => check(cid, bytes) }))
}

async function fromCar () {
  const accept = 'application/vnd.ipld.car; version=1; order=dfs; dups=n'
  const response = await fetch(`${url}/ipfs/${root}`, { headers: { accept } })
  if (!response.ok || response.headers.get('content-type') !== accept) {
    throw new Error(`${response.status} ${response.headers.get('content-type')}`)
  }
  const blocks = new Map()
  for await (const { cid, bytes } of await CarBlockIterator.fromIterable(response.body)) {
    await check(cid, bytes)
    blocks.set(cid.toString(), bytes)
  }
  return { blocks: [...blocks.keys()], store: reading((cid) => blocks.get(cid.toString())) }
}

async function files (blockstore, cid = root, path = '') {
  const found = {}
  const fs = unixfs({ blockstore })
  for await (const entry of fs.ls(cid)) {
    const name = path + entry.name
    if ((await fs.stat(entry.cid)).type === 'directory') {
      Object.assign(found, await files(blockstore, entry.cid, `${name}/`))
    } else {
      const hash = createHash('sha256')
      for await (const chunk of fs.cat(entry.cid)) {
        hash.update(chunk)
      }
      found[name] = hash.digest('hex')
    }
  }
  return found
}

const car = await fromCar()
console.log(JSON.stringify({
  byBlock: await files(fromGateway()),
  byCar: await files(car.store),
  order: car.blocks
}))
