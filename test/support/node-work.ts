import type { ConnectParams } from '../../src/protocol/frames.ts'
import { nodeHost, RawClient, TestDevice } from './client.ts'
import { TOKEN } from './gateway.ts'

/** A connected node, and the device that it is. */
export interface TestNode {
  client: RawClient
  device: TestDevice
}

/** Connects a device as a node, with what it offers. */
export async function connectNode(
  url: string,
  params: Partial<ConnectParams> = {},
  device: TestDevice = new TestDevice()
): Promise<TestNode> {
  const client = await RawClient.open(url)
  const asked = { auth: { token: TOKEN }, client: nodeHost, role: 'node', scopes: [], ...params }
  const { ok, error } = await client.connect(asked, device)
  if (!ok) throw new Error(error?.message)
  return { client, device }
}

/** Approves what a node offers, as an admin would. */
export async function approveNode(url: string, nodeId: string): Promise<void> {
  const admin = await RawClient.open(url)
  await admin.connect({ auth: { token: TOKEN }, scopes: ['operator.admin'] })
  const { pending } = (await admin.call('node.pair.list', {})).payload as { pending: Record<string, string>[] }
  const { requestId } = pending.find((each) => each.nodeId === nodeId)!
  const { ok, error } = await admin.call('node.pair.approve', { requestId })
  await admin.close()
  if (!ok) throw new Error(error?.message)
}

/** Connects a node whose offer is approved as it is. */
export async function approvedNode(
  url: string,
  params: Partial<ConnectParams> = {},
  device: TestDevice = new TestDevice()
): Promise<TestNode> {
  const node = await connectNode(url, params, device)
  await approveNode(url, device.id)
  return node
}
