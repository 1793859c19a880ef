// Verifies deliveries with Seam's own library: reads a JSON list from standard input, prints a list of verdicts.

import { readFileSync } from 'node:fs'

const installed = new URL('../../target/node/node_modules/', import.meta.url)
const { SeamWebhook } = await import(new URL('@seamapi/webhook/index.js', installed))

const verdict = ({ secret, headers, body }) => {
  try {
    const event = new SeamWebhook(secret).verify(body, headers)
    return event.event_type === 'acs_user.created' ? 'ok' : `an event of another type: ${JSON.stringify(event)}`
  } catch (error) {
    return `refused: ${error.message}`
  }
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(verdict)))
