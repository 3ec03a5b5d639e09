import { createSocket } from 'node:dgram'
import { createInterface } from 'node:readline'

// A neighbour on a network, as a program of its own: `mdns-neighbour.ts ADDRESS|::%INTERFACE`. It prints each packet of
// multicast DNS that it hears, one JSON a line, and sends what it is told to: `{ hex, alone? }`, one JSON a line.

const on = process.argv[2]!
const [type, group] = on.includes(':') ? (['udp6', 'ff02::fb'] as const) : (['udp4', '224.0.0.251'] as const)

const all = createSocket({ type, reuseAddr: true, ipv6Only: type === 'udp6' })
const oneShot = createSocket(type)
for (const socket of [all, oneShot]) {
  socket.on('message', (bytes, { address, port }) => {
    console.log(JSON.stringify({ hex: bytes.toString('hex'), from: address, port, alone: socket === oneShot }))
  })
}
all.bind(5353, () => {
  all.addMembership(group, on)
  all.setMulticastInterface(on)
  oneShot.bind(0, () => {
    oneShot.setMulticastInterface(on)
    console.log('listening')
  })
})
createInterface({ input: process.stdin }).on('line', (line) => {
  const { hex, alone } = JSON.parse(line) as { hex: string; alone?: boolean }
  const socket = alone === true ? oneShot : all
  socket.send(Buffer.from(hex, 'hex'), 5353, group)
})
