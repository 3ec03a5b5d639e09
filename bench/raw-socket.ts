import { connect, type Socket } from 'node:net'

const UPGRADE = (port: number): string =>
  `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** A WebSocket client that costs the load generator next to nothing: frames are built ahead, replies only counted. */
export class RawSocket {
  readonly #socket: Socket
  #rest: Buffer = Buffer.alloc(0)
  #upgraded = false
  /** Called for each text frame with its payload. */
  onText: (payload: Buffer) => void = () => {}
  /** Called once, when the server accepted the upgrade. */
  onOpen: () => void = () => {}
  onClose: () => void = () => {}

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.setNoDelay(true)
    this.#socket.write(UPGRADE(port))
    this.#socket.on('data', (chunk) => this.#read(chunk))
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.onClose())
  }

  /** Sends ready-made bytes: one or more frames of `textFrame`. */
  send(frames: Buffer): void {
    this.#socket.write(frames)
  }

  /** Closes as a client should: a close frame, then the end. */
  end(): void {
    this.#socket.end(frame(8, Buffer.from([0x03, 0xe8])))
  }

  #read(chunk: Buffer): void {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    if (!this.#upgraded) {
      const end = data.indexOf('\r\n\r\n')
      if (end >= 0) {
        if (!data.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) throw new Error(data.toString())
        this.#upgraded = true
        data = data.subarray(end + 4)
        this.onOpen()
      }
    }
    if (this.#upgraded) data = data.subarray(this.#frames(data))
    this.#rest = data
  }

  /** Hands out the whole frames of `data`; returns how many bytes they took. */
  #frames(data: Buffer): number {
    let at = 0
    while (data.length - at >= 2) {
      const opcode = data[at]! & 15
      let length = data[at + 1]!
      let start = at + 2
      if (length === 126) {
        if (data.length - at < 4) break
        length = data.readUInt16BE(start)
        start += 2
      } else if (length === 127) {
        if (data.length - at < 10) break
        length = Number(data.readBigUInt64BE(start))
        start += 8
      }
      if (data.length < start + length) break
      at = start + length
      if (opcode === 1) this.onText(data.subarray(start, at))
      else if (opcode === 9) this.#socket.write(frame(10, data.subarray(start, at)))
    }
    return at
  }
}

/** A text frame from a client. Its mask is all zeroes, so that the payload stays as it is. */
export function textFrame(text: string): Buffer {
  return frame(1, Buffer.from(text))
}

function frame(opcode: number, payload: Buffer): Buffer {
  const head = payload.length < 126 ? Buffer.alloc(6) : Buffer.alloc(8)
  head[0] = 0x80 | opcode
  if (payload.length < 126) head[1] = 0x80 | payload.length
  else {
    head[1] = 0x80 | 126
    head.writeUInt16BE(payload.length, 2)
  }
  return Buffer.concat([head, payload])
}
