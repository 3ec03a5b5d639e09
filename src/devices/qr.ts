import { crc32, deflateSync } from 'node:zlib'

const SCALE = 5

// It is read off a screen: more correction would only make it larger.
async function modulesOf(text: string, border: number): Promise<boolean[][]> {
  const { default: encodeQR } = await import('qr')
  return encodeQR(text, 'raw', { ecc: 'low', border })
}

/** A QR code as a PNG, one bit a pixel. */
export async function qrPng(text: string): Promise<Buffer> {
  const modules = await modulesOf(text, 4)
  const size = modules.length * SCALE
  const stride = Math.ceil(size / 8)
  const pixels = Buffer.alloc((stride + 1) * size)
  for (let y = 0; y < size; y++) {
    const row = modules[Math.floor(y / SCALE)]!
    // The first byte of a line names its filter: none. A set bit is white.
    for (let x = 0; x < size; x++) {
      if (!row[Math.floor(x / SCALE)]) pixels[y * (stride + 1) + 1 + (x >> 3)]! |= 0x80 >> (x & 7)
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(size, 0)
  header.writeUInt32BE(size, 4)
  header[8] = 1
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(pixels, { level: 9 })),
    chunk('IEND', Buffer.alloc(0))
  ])
}

/** A QR code for a terminal, two rows of modules a line. The light ones are drawn: terminals are dark. */
export async function qrText(text: string): Promise<string> {
  const modules = await modulesOf(text, 2)
  const lines: string[] = []
  for (let y = 0; y < modules.length; y += 2) {
    const upper = modules[y]!
    const lower = modules[y + 1]
    lines.push(upper.map((dark, x) => BLOCKS[`${dark}${lower?.[x] ?? true}`]).join(''))
  }
  return lines.join('\n')
}

const BLOCKS: Record<string, string> = { falsefalse: '█', falsetrue: '▀', truefalse: '▄', truetrue: ' ' }

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const ends = Buffer.alloc(8)
  ends.writeUInt32BE(data.length, 0)
  ends.writeUInt32BE(crc32(body), 4)
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)])
}
