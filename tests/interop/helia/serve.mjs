// A gateway that shares nothing with pnode: Helia's UnixFS builds a directory from the files of a
// folder, @ipld/car writes it. Prints the root and the URL as JSON, and serves until killed.
//
//   node serve.mjs FOLDER

import { unixfs } from '@helia/unixfs'
import { CarWriter } from '@ipld/car'
import { createServer } from 'node:http'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { Readable } from 'node:stream'

const folder = process.argv[2]
const blocks = new Map()
const blockstore = {
  put: async (cid, bytes) => { blocks.set(cid.toString(), { cid, bytes }); return cid },
  get: async function * (cid) { yield blocks.get(cid.toString()).bytes },
  has: async (cid) => blocks.has(cid.toString())
}

async function * sources () {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) {
      const path = join(entry.parentPath ?? entry.path, entry.name)
      yield { path: relative(folder, path), content: await readFile(path) }
    }
  }
}

let root
for await (const entry of unixfs({ blockstore }).addAll(sources(), { wrapWithDirectory: true })) {
  root = entry.cid
}

function car () {
  const { writer, out } = CarWriter.create([root])
  const writing = async () => {
    for (const { cid, bytes } of blocks.values()) {
      await writer.put({ cid, bytes })
    }
    await writer.close()
  }
  writing()
  return Readable.from(out)
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost')
  const name = url.pathname.replace('/ipfs/', '')
  const format = url.searchParams.get('format')
  if (!blocks.has(name)) {
    response.writeHead(404).end()
  } else if (format === 'raw') {
    response.writeHead(200, { 'content-type': 'application/vnd.ipld.raw' })
    response.end(blocks.get(name).bytes)
  } else if (format === 'car' && name === root.toString()) {
    response.writeHead(200, { 'content-type': 'application/vnd.ipld.car; version=1' })
    car().pipe(response)
  } else {
    response.writeHead(400).end()
  }
})
server.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`
  console.log(JSON.stringify({ root: root.toString(), url }))
})
