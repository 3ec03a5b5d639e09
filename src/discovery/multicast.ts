import { createSocket, type Socket } from 'node:dgram'
import { isIPv4 } from 'node:net'
import type { Network } from './networks.ts'
import { decodePacket, encodePacket, type Packet } from './packets.ts'

/** Whom a packet came from. */
export interface Sender {
  address: string
  port: number
}

/** What a network tells. */
export interface Ears {
  /** A packet of somebody on that network, this host included. */
  heard(packet: Packet, from: Sender): void
  /** Multicast does not work there over one family, or no longer; `works` says that the other one does. */
  failed(error: Error, works: boolean): void
}

/** The port of multicast DNS; whoever sends from another does not speak it, and wants an answer of its own. */
export const MDNS_PORT = 5_353
const GROUPS = { udp4: '224.0.0.251', udp6: 'ff02::fb' } as const
const HOPS = 255

/** What is read of one network in a second; the rest is noise, or meant to keep us busy. */
const PACKETS_PER_SECOND = 100

type Family = keyof typeof GROUPS

/** Multicast DNS on one network, over each family that it has addresses of. Never keeps the process alive. */
export class Multicast {
  readonly #network: Network
  readonly #ears: Ears
  readonly #sockets = new Map<Family, Socket>()
  #second = 0
  #read = 0

  constructor(network: Network, ears: Ears) {
    this.#network = network
    this.#ears = ears
  }

  /** Opens what can be opened; when nothing can, `failed` has said why. */
  async open(): Promise<void> {
    const { addresses } = this.#network
    const families = (['udp4', 'udp6'] as const).filter((family) =>
      addresses.some((address) => isIPv4(address) === (family === 'udp4'))
    )
    await Promise.all(families.map((family) => this.#open(family)))
  }

  /** Sends a packet to everybody on the network. */
  async send(packet: Packet): Promise<void> {
    const bytes = encodePacket(packet)
    await Promise.all(
      [...this.#sockets].map(([family, socket]) => send(socket, bytes, { address: GROUPS[family], port: MDNS_PORT }))
    )
  }

  /** Answers somebody who does not speak multicast DNS. */
  async answer(packet: Packet, to: Sender): Promise<void> {
    const socket = this.#sockets.get(isIPv4(to.address) ? 'udp4' : 'udp6')
    if (socket !== undefined) await send(socket, encodePacket(packet, true), to)
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close()
    this.#sockets.clear()
  }

  #open(family: Family): Promise<void> {
    const socket = createSocket({ type: family, reuseAddr: true, ipv6Only: family === 'udp6' })
    socket.unref()
    this.#sockets.set(family, socket)
    socket.on('message', (bytes, from) => this.#take(bytes, from))
    return new Promise((resolve) => {
      const fail = (error: Error) => {
        // A socket that has been closed meanwhile says so once more.
        if (this.#sockets.get(family) === socket) {
          this.#sockets.delete(family)
          socket.close()
          this.#ears.failed(error, this.#sockets.size > 0)
        }
        resolve()
      }
      socket.on('error', fail)
      socket.on('close', resolve)
      socket.bind({ port: MDNS_PORT, exclusive: true }, () => {
        try {
          this.#join(family, socket)
          resolve()
        } catch (error) {
          fail(error as Error)
        }
      })
    })
  }

  #join(family: Family, socket: Socket): void {
    const { name, addresses } = this.#network
    const on = family === 'udp4' ? addresses.find(isIPv4)! : `::%${name}`
    socket.addMembership(GROUPS[family], on)
    socket.setMulticastInterface(on)
    socket.setMulticastTTL(HOPS)
    // Other gateways and commands of this host are on the network too.
    socket.setMulticastLoopback(true)
  }

  // The system hands every packet to every socket, whichever network it came from.
  #take(bytes: Buffer, from: Sender): void {
    if (!this.#network.has(from.address) || !this.#hasTime()) return
    const packet = decodePacket(bytes)
    if (packet !== undefined && !(packet.response && from.port !== MDNS_PORT)) this.#ears.heard(packet, from)
  }

  #hasTime(): boolean {
    const second = Math.floor(performance.now() / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#read = 0
    }
    this.#read += 1
    return this.#read <= PACKETS_PER_SECOND
  }
}

// What does not arrive is sent again, so that a failure says nothing: a network may be gone for a moment.
function send(socket: Socket, bytes: Buffer, { address, port }: Sender): Promise<void> {
  return new Promise((resolve) => socket.send(bytes, port, address, () => resolve()))
}
