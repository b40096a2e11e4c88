// IPFS daemons that know nobody: js-ipfs with its RPC and its gateway, on 127.0.0.1 only, without
// bootstrap, DHT, mDNS, preload or delegates. Driven by JSON lines, and gone when stdin is closed.
//
//   node daemons.mjs FOLDER
//   {"op":"start","name":"a","port":0} -> {"api":"/ip4/...","gateway":"/ip4/...","swarm":"/ip4/..."}
//   {"op":"connect","name":"a","to":"/ip4/.../p2p/..."} | {"op":"stop","name":"a"} -> {}
//
// A daemon that is stopped keeps its repository, so it can be started again.

import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { create } from 'ipfs-core'
import { HttpApi } from 'ipfs-http-server'
import { HttpGateway } from 'ipfs-http-gateway'
import { multiaddr } from '@multiformats/multiaddr'

const folder = process.argv[2]
const running = new Map()
const local = (port) => `/ip4/127.0.0.1/tcp/${port}`

const operations = {
  async start ({ name, port }) {
    const ipfs = await create({
      repo: join(folder, name),
      silent: true,
      preload: { enabled: false },
      init: { emptyRepo: true, algorithm: 'Ed25519' },
      config: {
        Addresses: {
          API: local(port), Gateway: local(0), Swarm: [local(0)], Announce: [], NoAnnounce: [], Delegates: []
        },
        Bootstrap: [],
        Discovery: { MDNS: { Enabled: false, Interval: 10 }, webRTCStar: { Enabled: false } },
        Pubsub: { Enabled: false },
        Routing: { Type: 'none' },
        Swarm: { DisableNatPortMap: true }
      },
      libp2p: { peerDiscovery: [], nat: { enabled: false } }
    })
    const servers = [new HttpApi(ipfs), new HttpGateway(ipfs)]
    for (const server of servers) {
      await server.start()
    }
    running.set(name, { ipfs, servers })
    const { addresses } = await ipfs.id()
    return {
      api: String(servers[0]._apiServers[0].info.ma),
      gateway: String(servers[1]._gatewayServers[0].info.ma),
      swarm: addresses.map(String).find(address => address.startsWith('/ip4/127.0.0.1/'))
    }
  },

  async connect ({ name, to }) {
    await running.get(name).ipfs.swarm.connect(multiaddr(to))
    return {}
  },

  async stop ({ name }) {
    const { ipfs, servers } = running.get(name)
    running.delete(name)
    for (const server of servers) {
      await server.stop()
    }
    await ipfs.stop()
    return {}
  }
}

process.on('unhandledRejection', error => console.error('unhandled rejection:', error))
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line)
  try {
    console.log(JSON.stringify(await operations[asked.op](asked)))
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.stack ?? error) }))
  }
}
process.exit(0)
