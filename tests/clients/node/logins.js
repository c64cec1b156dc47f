// node-postgres logs in as each line of the file says, and prints what came of it, a line each. See tests/clients/logins.rs.
'use strict'

const fs = require('node:fs')
const { Client } = require('pg')
const { parse } = require('pg-connection-string')

function encryption(mode, root, cert, key) {
  if (mode === 'disable') return false
  const own = cert ? { cert: fs.readFileSync(cert), key: fs.readFileSync(key) } : {}
  // What the driver makes of the word in a connection string: TLS with anybody, and no second try without.
  if (mode === 'prefer') return { ...parse('postgresql://localhost/?uselibpqcompat=true&sslmode=prefer').ssl, ...own }
  if (mode === 'require') return { rejectUnauthorized: false, ...own }
  const anyName = mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}
  return { ca: fs.readFileSync(root), ...anyName, ...own }
}

async function outcome(line) {
  const [host, port, database, user, password, mode, root, cert, key] = line.split('\t')
  // There is no such mode here.
  if (mode === 'allow') return 'not tried'
  const client = new Client({
    host, port: Number(port), database, user, password, ssl: encryption(mode, root, cert, key), connectionTimeoutMillis: 20000,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query('SELECT 1 AS one')
    return rows[0].one === 1 ? 'let in' : 'a wrong answer'
  } catch (error) {
    return error.severity ? `${error.severity}: ${error.message}` : error.message
  } finally {
    // Not waited for: the end of a connection that never was does not come.
    client.end().catch(() => {})
  }
}

async function main() {
  const lines = fs.readFileSync(process.argv[2], 'utf8').split('\n').filter((line) => line)
  for (const line of lines) console.log((await outcome(line)).replace(/\s+/g, ' '))
}

main().then(() => process.exit(0))
