import type { ConnectParams } from '../../src/protocol/frames.ts'
import { nodeHost, RawClient, TestDevice } from './client.ts'
import { type TestApp, TOKEN } from './gateway.ts'

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

/** Connects a node whose offer is approved as it is. */
export async function approvedNode(
  { app, ws }: TestApp,
  params: Partial<ConnectParams> = {},
  device: TestDevice = new TestDevice()
): Promise<TestNode> {
  const facts = { clientId: 'node-host', clientMode: 'node', platform: 'linux' }
  await app.nodes.arrived(device.id, facts, Date.now())
  const { caps = [], commands = [], permissions = {} } = params
  await app.nodes.approve(device.id, { caps, commands, permissions })
  return connectNode(ws, params, device)
}
