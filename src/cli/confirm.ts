/** Asks a person a question with yes as the default; without a terminal to ask at, the answer is yes. */
export async function confirm(question: string): Promise<boolean> {
  return ask(`${question} [Y/n] `, true, true)
}

/** Asks a person a question with no as the default; without a terminal to ask at, the answer is no. */
export async function consent(question: string): Promise<boolean> {
  return ask(`${question} [y/N] `, false, false)
}

async function ask(question: string, byDefault: boolean, alone: boolean): Promise<boolean> {
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) return alone
  const { createInterface } = await import('node:readline/promises')
  const reader = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = (await reader.question(question)).trim().toLowerCase()
    return answer === '' ? byDefault : answer === 'y' || answer === 'yes'
  } finally {
    reader.close()
  }
}
