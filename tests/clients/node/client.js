// node-postgres through the pooler: its pool, named statements, cursors, transactions, errors, cancel.
// The connection comes from the PG* environment. Prints `clients=N` at its end; any failure is an exception.
'use strict'

const assert = require('node:assert')
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')

const CLIENTS = 8
const numbers = Array.from({ length: CLIENTS }, (_, number) => number)

async function namedStatements(client, number) {
  for (let step = 0; step < 30; step++) {
    const text = 'SELECT $1::int AS step, $2::text AS client'
    const { rows } = await client.query({ name: 'both', text, values: [step, `client ${number}`] })
    assert.deepStrictEqual(rows, [{ step, client: `client ${number}` }])
  }
  // The same name for another text on each client.
  for (let step = 0; step < 10; step++) {
    const { rows } = await client.query({ name: 'own', text: `SELECT ${number} + $1::int AS sum`, values: [step] })
    assert.strictEqual(rows[0].sum, number + step)
  }
}

async function unnamedStatements(client, number) {
  const queries = numbers.map((step) => client.query('SELECT $1::int AS value', [number * 100 + step]))
  const results = await Promise.all(queries)
  results.forEach(({ rows }, step) => assert.strictEqual(rows[0].value, number * 100 + step))
}

async function transactions(client, number) {
  for (let step = 0; step < 10; step++) {
    await client.query('BEGIN')
    const first = await client.query('SELECT pg_backend_pid() AS pid')
    await client.query({ name: 'insert', text: 'INSERT INTO node VALUES ($1, $2)', values: [number, step] })
    const second = await client.query('SELECT pg_backend_pid() AS pid')
    assert.strictEqual(second.rows[0].pid, first.rows[0].pid)
    await client.query(step % 2 ? 'COMMIT' : 'ROLLBACK')
  }
  const { rows } = await client.query('SELECT count(*)::int AS count FROM node WHERE client = $1', [number])
  assert.strictEqual(rows[0].count, 5)
}

async function errors(client, number) {
  for (let step = 0; step < 5; step++) {
    await assert.rejects(client.query({ name: `bad ${step}`, text: 'SELECT nothing' }), { code: '42703' })
    await assert.rejects(client.query({ name: 'zero', text: 'SELECT 1 / $1::int', values: [0] }), { code: '22012' })
    const { rows } = await client.query({ name: 'zero', text: 'SELECT 1 / $1::int', values: [1] })
    assert.strictEqual(rows.length, 1)
  }
  assert.strictEqual((await client.query('SELECT $1::int AS n', [number])).rows[0].n, number)
}

async function cursors(client, number) {
  await client.query('BEGIN')
  const cursor = client.query(new Cursor('SELECT $1::int + n AS sum FROM generate_series(1, 250) n', [number]))
  const sums = []
  for (let rows = await cursor.read(100); rows.length > 0; rows = await cursor.read(100)) {
    sums.push(...rows.map((row) => row.sum))
  }
  await cursor.close()
  await client.query('COMMIT')
  assert.deepStrictEqual(sums, Array.from({ length: 250 }, (_, n) => number + n + 1))
}

async function cancelHitsItsOwnQuery(client, number) {
  if (number % 2) {
    for (let step = 0; step < 20; step++) {
      const { rows } = await client.query('SELECT pg_sleep(0.01), $1::int AS step', [step])
      assert.strictEqual(rows[0].step, step)
    }
    return
  }
  const running = assert.rejects(client.query('SELECT pg_sleep(60)'), { code: '57014' })
  await new Promise((resolve) => setTimeout(resolve, 300))
  const canceller = new Client()
  canceller.processID = client.processID
  canceller.secretKey = client.secretKey
  canceller.connection.once('connect', () => canceller.connection.cancel(client.processID, client.secretKey))
  canceller.connection.connect(Number(process.env.PGPORT), process.env.PGHOST)
  await running
  canceller.connection.end()
}

async function poolOnTop() {
  const pool = new Pool({ max: CLIENTS })
  const queries = Array.from({ length: 200 }, (_, n) => pool.query('SELECT $1::int AS n', [n]))
  const results = await Promise.all(queries)
  results.forEach(({ rows }, n) => assert.strictEqual(rows[0].n, n))
  await pool.end()
}

async function main() {
  const clients = numbers.map(() => new Client())
  await Promise.all(clients.map((client) => client.connect()))
  await clients[0].query('CREATE TABLE node (client int, step int)')
  for (const work of [namedStatements, unnamedStatements, transactions, errors, cursors, cancelHitsItsOwnQuery]) {
    await Promise.all(clients.map((client, number) => work(client, number)))
  }
  await Promise.all(clients.map((client) => client.end()))
  await poolOnTop()
  console.log(`clients=${CLIENTS}`)
}

setTimeout(() => { throw new Error('took too long') }, 100_000).unref()
main()
