// What strict.mjs must let through, and what it must refuse: an answer that is a little wrong, at every depth.
//
//   target/node/node_modules/.bin/node --test tests/sdk/strict.test.mjs

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judge, judge_all } from './strict.mjs'

const id = '5fb7b4a2-3c1e-4f6a-9d0b-2f8a6c1d4e70'
const at = '2025-07-13T15:00:00.000Z'

const credential = () => ({
  acs_credential_id: id,
  acs_system_id: id,
  connected_account_id: id,
  workspace_id: id,
  access_method: 'card',
  created_at: at,
  display_name: 'Jane Doe',
  card_number: '04A1B2C3',
  is_issued: true,
  issued_at: at,
  is_managed: true,
  errors: [],
  warnings: [{ warning_code: 'needs_to_be_reissued', message: 'Encode it again.', created_at: at }],
})

const scan = () => ({
  action_attempt_id: id,
  action_type: 'SCAN_CREDENTIAL',
  status: 'success',
  error: null,
  result: {
    acs_credential_on_encoder: { created_at: at, is_issued: true, starts_at: at, ends_at: null, card_number: '04A1B2C3' },
    acs_credential_on_seam: credential(),
    warnings: [{ warning_code: 'acs_credential_on_encoder_out_of_sync', warning_message: 'They differ: ends_at' }],
  },
})

const answer = (method, path, body) => ({ method, path, status: 200, body: { ...body, ok: true } })

const scanned = () => answer('POST', '/acs/encoders/scan_credential', { action_attempt: scan() })

const listed = () =>
  answer('GET', '/acs/credentials/list', {
    acs_credentials: [credential()],
    pagination: { has_next_page: true, next_page_cursor: 'YWJj', next_page_url: 'http://127.0.0.1:1/x?page_cursor=YWJj' },
  })

const happened = () =>
  answer('GET', '/events/list', {
    events: [
      {
        event_id: id,
        event_type: 'acs_credential.issued',
        workspace_id: id,
        created_at: at,
        occurred_at: at,
        acs_system_id: id,
        acs_credential_id: id,
        connected_account_id: id,
      },
    ],
  })

const refused = () => ({
  method: 'POST',
  path: '/acs/encoders/get',
  status: 400,
  body: {
    error: {
      type: 'invalid_input',
      message: 'Required',
      validation_errors: { _errors: [], acs_encoder_id: { _errors: ['Required'] } },
    },
    ok: false,
  },
})

test('what fits the models has no complaint', () => {
  for (const record of [scanned(), listed(), happened(), refused(), answer('DELETE', '/webhooks/delete', {})]) {
    assert.deepEqual(judge(record), [], record.path)
  }
  const failed = { ...scan(), status: 'error', result: null, error: { type: 'encoder_not_online', message: 'Plug it in.' } }
  assert.deepEqual(judge(answer('POST', '/acs/encoders/scan_credential', { action_attempt: failed })), [])
})

// From a good record, and a change to it: what the complaint must name.
const WRONG = [
  ['a key beside the object', scanned, (body) => (body.more = 1), 'more'],
  ['a key in the object', scanned, (body) => (body.action_attempt.more = 1), 'more'],
  ['a key in the result', scanned, (body) => (body.action_attempt.result.more = 1), 'more'],
  ['a key on the card', scanned, (body) => (body.action_attempt.result.acs_credential_on_encoder.uid = '04'), 'uid'],
  ['a key in the credential of a result', scanned, (body) => (body.action_attempt.result.acs_credential_on_seam.uid = '04'), 'uid'],
  ['a key in a warning', scanned, (body) => (body.action_attempt.result.warnings[0].message = 'x'), 'message'],
  ['a key in an item', listed, (body) => (body.acs_credentials[0].more = 1), 'more'],
  ["a key in an item's warning", listed, (body) => (body.acs_credentials[0].warnings[0].more = 1), 'more'],
  ['a key in the pagination', listed, (body) => (body.pagination.total = 1), 'total'],
  ['a key in an event', happened, (body) => (body.events[0].acs_encoder_id = id), 'acs_encoder_id'],
  ['a key in an error', refused, (body) => (body.error.stack = 'x'), 'stack'],
  ['a missing key', listed, (body) => delete body.acs_credentials[0].errors, 'errors'],
  ['no pagination', listed, (body) => delete body.pagination, 'pagination'],
  ['null where it is optional', listed, (body) => (body.acs_credentials[0].acs_user_id = null), 'acs_user_id'],
  ['an id that is no UUID', happened, (body) => (body.events[0].event_id = 'event-1'), 'event_id'],
  ['a time without offset', listed, (body) => (body.acs_credentials[0].created_at = '2025-07-13'), 'created_at'],
  ['a cursor that is no base64', listed, (body) => (body.pagination.next_page_cursor = '?'), 'next_page_cursor'],
  ['an unknown warning', listed, (body) => (body.acs_credentials[0].warnings[0].warning_code = 'tired'), 'warning_code'],
  ['an unknown event', happened, (body) => (body.events[0].event_type = 'acs_credential.created'), 'event_type'],
  ['an unknown failure', scanned, (body) => Object.assign(body.action_attempt, { status: 'error', result: null, error: { type: 'tired', message: 'x' } }), 'type'],
  ['success with an error', scanned, (body) => (body.action_attempt.error = { type: 'uncategorized_error', message: 'x' }), 'error'],
  ['another action', scanned, (body) => Object.assign(body.action_attempt, { action_type: 'ENCODE_CREDENTIAL', result: credential() }), 'ENCODE_CREDENTIAL'],
  ['an error without message', refused, (body) => delete body.error.message, 'message'],
  ['an error that is ok', refused, (body) => (body.ok = true), 'ok'],
  ['validation errors that are no tree', refused, (body) => (body.error.validation_errors.acs_encoder_id = ['Required']), 'acs_encoder_id'],
  ['ok that is not true', scanned, (body) => (body.ok = false), 'ok'],
]

for (const [name, good, spoil, named] of WRONG) {
  test(`refused: ${name}`, () => {
    const record = good()
    spoil(record.body)
    assert.ok(judge(record).join('\n').includes(named), JSON.stringify(judge(record)))
  })
}

test('a path or method that Seam does not have is refused, and the own paths are nobody\'s business', () => {
  assert.match(judge(answer('GET', '/acs/encoders/wink', {}))[0], /no GET \/acs\/encoders\/wink/)
  assert.match(judge(answer('DELETE', '/acs/encoders/get', {}))[0], /no DELETE/)
  for (const path of ['/encoderd/v1/encoders', '/bridge/v1/jobs/next', '/healthz', '/openapi.json']) {
    assert.equal(judge(answer('GET', path, {})), undefined)
  }
})

const document = (...paths) => ({
  method: 'GET',
  path: '/openapi.json',
  status: 200,
  body: { paths: Object.fromEntries(paths.map((path) => [path, { get: {}, post: {} }])) },
})

const all = (...records) => judge_all(records.map((record) => JSON.stringify(record)))

test('complaints are counted, and so is what was looked at', () => {
  const bad = listed()
  bad.body.more = 1
  const posted = { ...listed(), method: 'POST' }
  const { answers, good, complaints } = all(document('/acs/credentials/list'), listed(), bad, bad, posted, refused())
  assert.equal(answers, 5)
  assert.deepEqual([...good], ['GET /acs/credentials/list', 'POST /acs/credentials/list'])
  assert.deepEqual([...complaints.values()], [2])
})

test('what the hub promises and was not seen is a complaint, and so is no promise', () => {
  const own = '/encoderd/v1/encoders'
  const { complaints } = all(document('/acs/credentials/list', '/acs/encoders/get', own), listed(), refused())
  assert.deepEqual(
    [...complaints.keys()],
    ['POST /acs/credentials/list', 'GET /acs/encoders/get', 'POST /acs/encoders/get'].map(
      (promised) => `${promised}: no good answer of it was seen`,
    ),
  )
  assert.match([...all(listed()).complaints.keys()][0], /openapi\.json is not among the answers/)
  assert.equal(all().complaints.size, 1)
})
