#!/usr/bin/env node
// Everything of the Seam API that the hub has, called through an official SDK for JavaScript, unmodified.
//
//   suite.mjs FOLDER [CHECK…]    FOLDER: where the package seam is installed, the newest or the one for older Node
//
// Environment: SEAM_ENDPOINT and SEAM_API_KEY, both read by the SDK itself. The hub is a new one of the tests, with the
// rooms 101 to 103 and the encoders of tests/support/auto_desk.rs. SEAM_TEST_PERSONAL_ACCESS_TOKEN and
// SEAM_TEST_WORKSPACE_ID: another way in.
//
// Each check runs, whatever became of those before; exit 0 when all passed. suite.py has the same checks.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, ...wanted] = process.argv.slice(2)
if (folder == null) {
  console.error('usage: suite.mjs FOLDER [CHECK…]')
  process.exit(2)
}
const {
  Seam,
  SeamWebhook,
  isSeamActionAttemptFailedError,
  isSeamActionAttemptTimeoutError,
  isSeamHttpApiError,
  isSeamHttpInvalidInputError,
  isSeamHttpUnauthorizedError,
} = await import(pathToFileURL(resolve(folder, 'index.js')))

const STARTS_AT = '2025-07-13T15:00:00.000Z'
const ENDS_AT = '2031-07-16T11:00:00.000Z'
const LATER = '2031-07-18T11:00:00.000Z'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

const equal = assert.deepEqual
const sorted = (list) => [...list].sort()
const hour_from = (time, hours) => new Date(Date.parse(time) + hours * 3_600_000).toISOString()

/** What the call throws; it must throw. */
async function thrown(call) {
  try {
    await call()
  } catch (error) {
    return error
  }
  assert.fail('nothing was thrown')
}

/** The hub must refuse this with an error of the SDK's own. */
async function refused(status, code, call) {
  const error = await thrown(call)
  if (!isSeamHttpApiError(error)) throw error
  equal([error.statusCode, error.code], [status, code])
  assert.match(error.requestId, UUID)
  assert.notEqual(error.message, '')
  return error
}

/** The hub must refuse this because of this parameter. */
async function invalid(parameter, call) {
  const error = await refused(400, 'invalid_input', call)
  assert.ok(isSeamHttpInvalidInputError(error), error.name)
  assert.ok(error.getValidationErrorMessages(parameter)[0], `nothing is said of ${parameter}`)
}

/** The action attempt must end with this. */
async function fails(code, call) {
  const error = await thrown(call)
  if (!isSeamActionAttemptFailedError(error)) throw error
  equal(error.code, code)
  const { status, result, error: told } = error.actionAttempt
  equal([status, result, told.type, told.message], ['error', null, code, error.message])
  assert.notEqual(error.message, '')
}

/** What the hub has from the start, and the ways to what is needed again and again. */
class Hotel {
  static async of(seam) {
    const hotel = new Hotel()
    hotel.seam = seam
    hotel.system = (await seam.acs.systems.list())[0].acs_system_id
    const rooms = await seam.acs.entrances.list()
    hotel.rooms = ['Room 101', 'Room 102', 'Room 103'].map(
      (name) => rooms.find((room) => room.display_name === name).acs_entrance_id,
    )
    const encoders = await seam.acs.encoders.list()
    hotel.encoders = Object.fromEntries(encoders.map((encoder) => [encoder.display_name, encoder.acs_encoder_id]))
    return hotel
  }

  user(full_name = 'Jane Doe', more = {}) {
    return this.seam.acs.users.create({ acs_system_id: this.system, full_name, ...more })
  }

  async credential(more = {}) {
    const owner = 'acs_user_id' in more || 'acs_system_id' in more ? {} : { acs_user_id: (await this.user()).acs_user_id }
    return await this.seam.acs.credentials.create({
      access_method: 'card',
      allowed_acs_entrance_ids: this.rooms.slice(0, 2),
      starts_at: STARTS_AT,
      ends_at: ENDS_AT,
      ...owner,
      ...more,
    })
  }

  encode({ acs_credential_id }, encoder = 'Dispenser', options = {}) {
    return this.seam.acs.encoders.encodeCredential({ acs_encoder_id: this.encoders[encoder], acs_credential_id }, options)
  }

  scan(encoder, options = {}) {
    return this.seam.acs.encoders.scanCredential({ acs_encoder_id: this.encoders[encoder] }, options)
  }

  shown({ acs_credential_id }) {
    return this.seam.acs.credentials.get({ acs_credential_id })
  }

  grant(more = {}) {
    const guest = 'user_identity_id' in more || 'user_identity' in more ? {} : { user_identity: { full_name: 'Jane Doe' } }
    return this.seam.accessGrants.create({
      requested_access_methods: [{ mode: 'card' }],
      acs_entrance_ids: this.rooms.slice(0, 1),
      starts_at: STARTS_AT,
      ends_at: ENDS_AT,
      ...guest,
      ...more,
    })
  }

  method(grant) {
    return this.seam.accessMethods.get({ access_method_id: grant.access_method_ids[0] })
  }

  async event_types(which) {
    return (await this.seam.events.list(which)).map((event) => event.event_type)
  }
}

const codes = (warnings) => warnings.map((warning) => warning.warning_code)
const names = (list) => sorted(list.map((one) => one.display_name))

const CHECKS = {
  // What there is.

  async the_workspace(seam) {
    const workspace = await seam.workspaces.get()
    assert.match(workspace.workspace_id, UUID)
    assert.ok(workspace.name && workspace.company_name)
    equal([workspace.is_suspended, workspace.connect_partner_name], [false, null])
    equal(typeof workspace.is_sandbox, 'boolean')
  },

  async the_access_system(seam, hotel) {
    const system = await seam.acs.systems.get({ acs_system_id: hotel.system })
    equal([system.name, system.location.time_zone], ['Hotel Test', 'Europe/Zurich'])
    equal([system.errors, system.is_credential_manager], [[], false])
    assert.match(system.created_at, TIME)
    equal(await seam.acs.systems.list(), [system])
    equal(await seam.acs.systems.list({ connected_account_id: system.connected_account_id }), [system])
    equal(await seam.acs.systems.list({ search: 'hotel' }), [system])
    equal(await seam.acs.systems.list({ search: 'motel' }), [])
    await refused(404, 'acs_system_not_found', () => seam.acs.systems.get({ acs_system_id: randomUUID() }))
  },

  async entrances(seam, hotel) {
    const entrance = await seam.acs.entrances.get({ acs_entrance_id: hotel.rooms[0] })
    equal([entrance.display_name, entrance.acs_system_id], ['Room 101', hotel.system])
    equal([entrance.errors, entrance.warnings], [[], []])
    const every = ['Room 101', 'Room 102', 'Room 103']
    const credential = await hotel.credential()
    for (const [which, expected] of [
      [{}, every],
      [{ acs_system_id: hotel.system }, every],
      [{ acs_system_id: randomUUID() }, []],
      [{ acs_entrance_ids: hotel.rooms.slice(1) }, every.slice(1)],
      [{ acs_entrance_ids: hotel.rooms.slice(2) }, every.slice(2)],
      [{ acs_entrance_ids: [] }, []],
      [{ search: 'room 10' }, every],
      [{ search: '102' }, ['Room 102']],
      [{ acs_credential_id: credential.acs_credential_id }, every.slice(0, 2)],
    ]) {
      equal(names(await seam.acs.entrances.list(which)), expected, JSON.stringify(which))
    }
    await refused(404, 'acs_entrance_not_found', () => seam.acs.entrances.get({ acs_entrance_id: randomUUID() }))
  },

  async encoders(seam, hotel) {
    const encoder = await seam.acs.encoders.get({ acs_encoder_id: hotel.encoders['Front Desk'] })
    equal([encoder.display_name, encoder.acs_system_id, encoder.errors], ['Front Desk', hotel.system, []])
    assert.match(encoder.connected_account_id, UUID)
    assert.match(encoder.workspace_id, UUID)
    assert.match(encoder.created_at, TIME)
    const every = sorted(Object.keys(hotel.encoders))
    for (const [which, expected] of [
      [{}, every],
      [{ acs_system_id: hotel.system }, every],
      [{ acs_system_ids: [hotel.system, randomUUID()] }, every],
      [{ acs_encoder_ids: [hotel.encoders.Empty, hotel.encoders.Silent] }, ['Empty', 'Silent']],
    ]) {
      equal(names(await seam.acs.encoders.list(which)), expected, JSON.stringify(which))
    }
    await refused(404, 'acs_encoder_not_found', () => seam.acs.encoders.get({ acs_encoder_id: randomUUID() }))
  },

  // People.

  async user_identities(seam) {
    const ada = {
      full_name: 'Ada Lovelace',
      email_address: 'ada@example.com',
      phone_number: '+41446681800',
      user_identity_key: 'ada',
    }
    const made = await seam.userIdentities.create(ada)
    equal({ ...made, ...ada, acs_user_ids: [] }, made)
    const { user_identity_id } = made
    equal(await seam.userIdentities.get({ user_identity_id }), made)
    equal(await seam.userIdentities.get({ user_identity_key: 'ada' }), made)
    equal(await seam.userIdentities.list({ user_identity_ids: [user_identity_id] }), [made])
    equal(await seam.userIdentities.list({ search: 'LOVELACE' }), [made])
    const created_before = hour_from(made.created_at, -24)
    equal(await seam.userIdentities.list({ search: 'LOVELACE', created_before }), [])
    await seam.userIdentities.update({ user_identity_id, full_name: 'Ada King', phone_number: null })
    const now = await seam.userIdentities.get({ user_identity_id })
    equal([now.full_name, now.phone_number, now.email_address], ['Ada King', null, 'ada@example.com'])
    await seam.userIdentities.delete({ user_identity_id })
    await refused(404, 'user_identity_not_found', () => seam.userIdentities.get({ user_identity_id }))
    await invalid('email_address', () => seam.userIdentities.create({ email_address: 'at home' }))
  },

  async acs_users(seam, hotel) {
    const { user_identity_id } = await seam.userIdentities.create({
      full_name: 'Grace Hopper',
      email_address: 'grace@example.com',
    })
    const grace = {
      email_address: 'grace@example.com',
      phone_number: '+41446681801',
      access_schedule: { starts_at: STARTS_AT, ends_at: ENDS_AT },
    }
    const user = await hotel.user('Grace Hopper', grace)
    equal({ ...user, ...grace, full_name: 'Grace Hopper', is_managed: true, errors: [] }, user)
    equal(user.user_identity_id, undefined)
    const { acs_user_id } = user
    await seam.userIdentities.addAcsUser({ user_identity_id, acs_user_id })
    const linked = await seam.acs.users.get({ acs_user_id })
    equal([linked.user_identity_id, linked.user_identity_email_address], [user_identity_id, 'grace@example.com'])
    equal(await seam.acs.users.get({ acs_system_id: hotel.system, user_identity_id }), linked)
    equal((await seam.userIdentities.get({ user_identity_id })).acs_user_ids, [acs_user_id])
    for (const which of [
      { search: 'hopper' },
      { user_identity_id },
      { user_identity_email_address: 'grace@example.com' },
      { acs_system_id: hotel.system, search: 'grace' },
    ]) {
      equal(await seam.acs.users.list(which), [linked], JSON.stringify(which))
    }
    await seam.acs.users.update({ acs_user_id, full_name: 'Grace M. Hopper', email_address: 'admiral@example.com' })
    const now = await seam.acs.users.get({ acs_user_id })
    equal([now.full_name, now.email_address], ['Grace M. Hopper', 'admiral@example.com'])
    await seam.acs.users.delete({ acs_user_id })
    await refused(404, 'acs_user_not_found', () => seam.acs.users.get({ acs_user_id }))
    equal(await hotel.event_types({ acs_user_id }), ['acs_user.created', 'acs_user.deleted'])
  },

  // Credentials and cards.

  async credentials(seam, hotel) {
    const { acs_user_id } = await hotel.user('Alan Turing')
    const made = await hotel.credential({ acs_user_id })
    equal([made.access_method, made.acs_user_id, made.acs_system_id], ['card', acs_user_id, hotel.system])
    equal([made.starts_at, made.ends_at], [STARTS_AT, ENDS_AT])
    equal([made.is_issued, made.issued_at, made.card_number, made.is_managed], [false, null, null, true])
    equal(codes(made.warnings), ['waiting_to_be_issued'])
    equal(await hotel.shown(made), made)
    equal(await seam.acs.credentials.list({ acs_user_id }), [made])
    equal(await seam.acs.credentials.list({ acs_user_id, acs_system_id: hotel.system }), [made])
    const { acs_credential_id } = made
    for (const which of [{ acs_system_id: hotel.system }, {}]) {
      const listed = await seam.acs.credentials.list(which)
      equal(listed.find((one) => one.acs_credential_id === acs_credential_id), made)
    }
    const rooms = await seam.acs.credentials.listAccessibleEntrances({ acs_credential_id })
    equal(names(rooms), ['Room 101', 'Room 102'])
    await seam.acs.credentials.update({ acs_credential_id, ends_at: LATER })
    equal((await hotel.shown(made)).ends_at, LATER)
    await invalid('ends_at', () => seam.acs.credentials.update({ acs_credential_id, ends_at: '2025-07-13T14:00:00Z' }))
    await seam.acs.credentials.delete({ acs_credential_id })
    await refused(404, 'acs_credential_not_found', () => hotel.shown(made))
    equal(await hotel.event_types({ acs_credential_id }), ['acs_credential.deleted'])
  },

  async credentials_of_nobody_and_of_somebody_else(seam, hotel) {
    const made = await hotel.credential({ acs_system_id: hotel.system })
    equal(made.acs_user_id, undefined)
    const { acs_credential_id } = made
    const one = (await hotel.user('Emmy Noether')).acs_user_id
    const other = (await hotel.user('Sofja Kowalewskaja')).acs_user_id
    await seam.acs.credentials.assign({ acs_credential_id, acs_user_id: one })
    equal((await hotel.shown(made)).acs_user_id, one)
    const owned = await seam.acs.credentials.list({ acs_user_id: one })
    equal(owned.map((credential) => credential.acs_credential_id), [acs_credential_id])
    await seam.acs.credentials.unassign({ acs_credential_id, acs_user_id: one })
    equal((await hotel.shown(made)).acs_user_id, undefined)
    await seam.acs.credentials.assign({ acs_credential_id, acs_user_id: other })
    equal((await hotel.shown(made)).acs_user_id, other)
    const { user_identity_id } = await seam.userIdentities.create({ full_name: 'Lise Meitner' })
    await seam.acs.credentials.unassign({ acs_credential_id, acs_user_id: other })
    await seam.acs.credentials.assign({ acs_credential_id, user_identity_id })
    equal((await hotel.shown(made)).user_identity_id, user_identity_id)
    await refused(404, 'acs_user_not_found', () =>
      seam.acs.credentials.assign({ acs_credential_id, acs_user_id: randomUUID() }),
    )
  },

  async vendors_metadata_is_kept(seam, hotel) {
    const made = await hotel.credential({
      visionline_metadata: {
        card_format: 'rfid48',
        card_function_type: 'guest',
        override: true,
        joiner_acs_credential_ids: [],
      },
    })
    for (const shown of [made, await hotel.shown(made)]) equal(shown.visionline_metadata.card_function_type, 'guest')
  },

  async a_credential_goes_onto_a_card_and_reads_back(seam, hotel) {
    // As the SDK waits when nobody says how.
    const made = await hotel.credential()
    const { acs_credential_id } = made
    const attempt = await hotel.encode(made, 'Front Desk')
    equal([attempt.action_type, attempt.status, attempt.error], ['ENCODE_CREDENTIAL', 'success', null])
    equal([attempt.result.acs_credential_id, attempt.result.is_issued], [acs_credential_id, true])
    assert.match(attempt.result.issued_at, TIME)
    const shown = await hotel.shown(made)
    equal([shown.is_issued, shown.card_number, shown.warnings], [true, attempt.result.card_number, []])
    const scan = await hotel.scan('Front Desk')
    equal([scan.action_type, scan.status, scan.error], ['SCAN_CREDENTIAL', 'success', null])
    const { acs_credential_on_encoder: card, acs_credential_on_seam: on_seam } = scan.result
    equal([card.card_number, card.is_issued, card.starts_at, card.ends_at], [shown.card_number, true, STARTS_AT, ENDS_AT])
    equal([on_seam.acs_credential_id, on_seam.card_number], [acs_credential_id, shown.card_number])
    equal(scan.result.warnings, [])
    equal(await hotel.event_types({ acs_credential_id }), ['acs_credential.issued'])

    await seam.acs.credentials.update({ acs_credential_id, ends_at: LATER })
    equal(codes((await hotel.shown(made)).warnings), ['needs_to_be_reissued'])
    const { warnings } = (await hotel.scan('Front Desk')).result
    equal(codes(warnings), ['acs_credential_on_encoder_out_of_sync'])
    assert.match(warnings[0].warning_message, /ends_at/)
    equal((await hotel.encode(made, 'Front Desk')).result.ends_at, LATER)
    equal((await hotel.scan('Front Desk')).result.warnings, [])
    const issued = ['acs_credential.issued', 'acs_credential.reissued']
    equal(await hotel.event_types({ acs_credential_id }), issued)

    // The next guest's credential on the same card.
    const following = await hotel.credential()
    equal((await hotel.encode(following, 'Front Desk')).result.card_number, shown.card_number)
    equal(await hotel.event_types({ acs_credential_id }), [...issued, 'acs_credential.invalidated'])
    await seam.acs.credentials.delete({ acs_credential_id: following.acs_credential_id })
    const { result } = await hotel.scan('Front Desk')
    equal([result.acs_credential_on_seam, result.acs_credential_on_encoder.card_number], [null, shown.card_number])
    equal(codes(result.warnings), ['acs_credential_on_seam_not_found'])
  },

  async a_credential_that_is_issued_is_not_written_to_another_card(seam, hotel) {
    const made = await hotel.credential()
    await hotel.encode(made)
    await fails('credential_cannot_be_reissued', () => hotel.encode(made, 'Front Desk'))
    equal((await hotel.shown(made)).is_issued, true)
  },

  async what_goes_wrong_at_the_encoder_is_told(seam, hotel) {
    for (const [encoder, code] of [
      ['Empty', 'no_credential_on_encoder'],
      ['Wrong Cards', 'incompatible_card_format'],
      ['Shaky Hands', 'encoding_interrupted'],
      ['Silent', 'encoder_communication_timeout'],
      ['Unplugged', 'encoder_not_online'],
    ]) {
      const made = await hotel.credential()
      await fails(code, () => hotel.encode(made, encoder))
      equal((await hotel.shown(made)).is_issued, false)
    }
    for (const [encoder, code] of [
      ['Empty', 'no_credential_on_encoder'],
      ['Silent', 'encoder_communication_timeout'],
      ['Unplugged', 'encoder_not_online'],
    ]) {
      await fails(code, () => hotel.scan(encoder))
    }
  },

  async waiting_is_given_up_and_attempts_stay_readable(seam, hotel) {
    const made = await hotel.credential()
    const waitForActionAttempt = { timeout: 300, pollingInterval: 100 }
    const error = await thrown(() => hotel.encode(made, 'Stuck', { waitForActionAttempt }))
    assert.ok(isSeamActionAttemptTimeoutError(error), String(error))
    const pending = error.actionAttempt
    equal([pending.status, pending.result, pending.error], ['pending', null, null])
    const started = await hotel.encode(await hotel.credential(), 'Dispenser', { waitForActionAttempt: false })
    equal(started.action_type, 'ENCODE_CREDENTIAL')
    const { action_attempt_id } = started
    const attempt = await seam.actionAttempts.get({ action_attempt_id }, { waitForActionAttempt: true })
    equal(attempt.status, 'success')
    equal(await seam.actionAttempts.get({ action_attempt_id }, { waitForActionAttempt: false }), attempt)
    const action_attempt_ids = [action_attempt_id, pending.action_attempt_id]
    const listed = await seam.actionAttempts.list({ action_attempt_ids })
    const found = Object.fromEntries(listed.map((one) => [one.action_attempt_id, one.status]))
    equal(found, { [action_attempt_id]: 'success', [pending.action_attempt_id]: 'pending' })
    await refused(404, 'action_attempt_not_found', () => seam.actionAttempts.get({ action_attempt_id: randomUUID() }))
  },

  async a_card_that_lies_there_is_assigned(seam, hotel) {
    const { encoders } = seam.acs
    if (encoders.scanToAssignCredential == null) return 'this SDK has no scanToAssignCredential'
    const made = await hotel.credential({ acs_system_id: hotel.system })
    const { card_number } = (await hotel.encode(made)).result
    const { acs_user_id } = await hotel.user('Rosalind Franklin')
    const dispenser = hotel.encoders.Dispenser
    const attempt = await encoders.scanToAssignCredential({ acs_encoder_id: dispenser, acs_user_id })
    equal([attempt.action_type, attempt.status], ['SCAN_TO_ASSIGN_CREDENTIAL', 'success'])
    equal([attempt.result.card_number, attempt.result.acs_user_id], [card_number, acs_user_id])
    const owned = await seam.acs.credentials.list({ acs_user_id })
    equal(owned.map((one) => one.acs_credential_id), [attempt.result.acs_credential_id])
    await fails('no_credential_on_encoder', () =>
      encoders.scanToAssignCredential({ acs_encoder_id: hotel.encoders.Empty, acs_user_id }),
    )
    await refused(404, 'acs_user_not_found', () =>
      encoders.scanToAssignCredential({ acs_encoder_id: dispenser, acs_user_id: randomUUID() }),
    )
  },

  // Grants.

  async a_grant_with_all_its_parts(seam, hotel) {
    const { user_identity_id } = await seam.userIdentities.create({ full_name: 'Hedy Lamarr' })
    const keys = { access_grant_key: 'booking-17/room', reservation_key: 'booking-17' }
    const grant = await hotel.grant({
      user_identity_id,
      name: 'Two nights',
      ...keys,
      acs_entrance_ids: hotel.rooms.slice(0, 2),
    })
    const expected = { name: 'Two nights', ...keys, starts_at: STARTS_AT, ends_at: ENDS_AT, user_identity_id, errors: [] }
    equal({ ...grant, ...expected }, grant)
    const [requested] = grant.requested_access_methods
    equal([requested.mode, requested.created_access_method_ids], ['card', grant.access_method_ids])
    const { access_grant_id, access_grant_key, reservation_key } = grant
    equal(await seam.accessGrants.get({ access_grant_id }), grant)
    equal(await seam.accessGrants.get({ access_grant_key }), grant)
    for (const which of [
      { user_identity_id },
      { reservation_key },
      { access_grant_key },
      { access_grant_ids: [access_grant_id] },
      { acs_entrance_id: hotel.rooms[1], user_identity_id },
    ]) {
      equal(await seam.accessGrants.list(which), [grant], JSON.stringify(which))
    }
    equal(await seam.accessGrants.list({ user_identity_id, acs_entrance_id: hotel.rooms[2] }), [])
    await seam.accessGrants.update({ access_grant_id, name: 'Three nights', ends_at: LATER })
    let now = await seam.accessGrants.get({ access_grant_id })
    equal([now.name, now.ends_at], ['Three nights', LATER])
    assert.ok((await hotel.event_types({ access_grant_id })).includes('access_grant.access_times_changed'))

    now = await seam.accessGrants.requestAccessMethods({ access_grant_id, requested_access_methods: [{ mode: 'card' }] })
    equal(now.access_method_ids.slice(0, 1), grant.access_method_ids)
    equal([now.access_method_ids.length, now.requested_access_methods.length], [2, 2])
    const listed = await seam.accessMethods.list({ access_grant_id })
    equal(sorted(listed.map((one) => one.access_method_id)), sorted(now.access_method_ids))
    equal((await seam.accessMethods.list({ access_grant_key })).length, 2)
    const access_method_id = now.access_method_ids[1]
    await seam.accessMethods.delete({ access_method_id })
    await refused(404, 'access_method_not_found', () => seam.accessMethods.get({ access_method_id }))
    equal((await seam.accessGrants.get({ access_grant_id })).access_method_ids, grant.access_method_ids)

    await seam.accessGrants.delete({ access_grant_id })
    await refused(404, 'access_grant_not_found', () => seam.accessGrants.get({ access_grant_id }))
    await refused(404, 'access_method_not_found', () => hotel.method(grant))
    await refused(404, 'access_grant_not_found', () => seam.accessGrants.get({ access_grant_key }))
  },

  async a_grants_access_method_goes_onto_a_card(seam, hotel) {
    const grant = await hotel.grant({ user_identity: { full_name: 'Mary Anning', email_address: 'mary@example.com' } })
    const { access_grant_id, user_identity_id } = grant
    let method = await hotel.method(grant)
    equal([method.mode, method.is_issued, method.issued_at], ['card', false, null])
    equal([method.is_encoding_required, method.is_ready_for_encoding], [true, true])
    const { access_method_id } = method
    const acs_encoder_id = hotel.encoders.Dispenser
    const attempt = await seam.accessMethods.encode({ access_method_id, acs_encoder_id })
    equal([attempt.action_type, attempt.status, attempt.result.is_issued], ['ENCODE_CREDENTIAL', 'success', true])
    method = await hotel.method(grant)
    equal([method.is_issued, method.is_ready_for_encoding], [true, false])
    equal(method.issued_at, attempt.result.issued_at)
    const user = await seam.acs.users.get({ acs_system_id: hotel.system, user_identity_id })
    const [credential, ...others] = await seam.acs.credentials.list({ user_identity_id })
    const { acs_credential_id } = credential
    equal([acs_credential_id, credential.acs_user_id, others], [attempt.result.acs_credential_id, user.acs_user_id, []])
    equal(names(await seam.acs.credentials.listAccessibleEntrances({ acs_credential_id })), ['Room 101'])
    const happened = ['access_method.created', 'access_method.card_encoding_required', 'access_method.issued']
    equal(await hotel.event_types({ access_method_id }), happened)
    const [event] = await seam.events.list({ access_method_id, event_type: 'access_method.issued' })
    equal(event.access_grant_ids, [access_grant_id])
    // The other way to the same card.
    const again = await seam.acs.encoders.encodeCredential({ acs_encoder_id, access_method_id })
    equal(again.result.acs_credential_id, acs_credential_id)
    equal(await hotel.event_types({ access_method_id }), [...happened, 'access_method.reissued'])
    const another = (await hotel.grant()).access_method_ids[0]
    await fails('no_credential_on_encoder', () =>
      seam.accessMethods.encode({ access_method_id: another, acs_encoder_id: hotel.encoders.Empty }),
    )
  },

  async a_card_that_was_made_before_is_given_to_a_grant(seam, hotel) {
    if (seam.accessMethods.assignCard == null) return 'this SDK has no assignCard'
    const made = await hotel.credential({ acs_system_id: hotel.system })
    const { card_number } = (await hotel.encode(made)).result
    const [access_method_id] = (await hotel.grant()).access_method_ids
    const attempt = await seam.accessMethods.assignCard({ access_method_id, card_number })
    equal([attempt.action_type, attempt.status], ['ASSIGN_CREDENTIAL', 'success'])
    equal(attempt.result.access_method_id, access_method_id)
    const [another] = (await hotel.grant()).access_method_ids
    await fails('credential_not_found', () =>
      seam.accessMethods.assignCard({ access_method_id: another, card_number: '04FFFFFF' }),
    )
  },

  async methods_go_with_their_grant_or_reservation(seam, hotel) {
    for (const which of ['access_grant_id', 'reservation_key']) {
      const grant = await hotel.grant({ reservation_key: `booking-by-${which}` })
      await seam.accessMethods.delete({ [which]: grant[which] })
      await refused(404, 'access_method_not_found', () => hotel.method(grant))
    }
  },

  async spaces(seam, hotel) {
    const made = await seam.spaces.create({
      name: 'First floor',
      space_key: 'floor-1',
      acs_entrance_ids: hotel.rooms.slice(0, 2),
    })
    equal({ ...made, name: 'First floor', space_key: 'floor-1', acs_entrance_count: 2, device_count: 0 }, made)
    const { space_id, space_key } = made
    equal(await seam.spaces.get({ space_id }), made)
    equal(await seam.spaces.get({ space_key }), made)
    equal(await seam.spaces.list({ search: 'first' }), [made])
    equal(await seam.spaces.list({ space_key }), [made])
    const rooms = async () => names(await seam.acs.entrances.list({ space_id }))
    equal(await rooms(), ['Room 101', 'Room 102'])
    await seam.spaces.addAcsEntrances({ space_id, acs_entrance_ids: [hotel.rooms[2]] })
    equal(await rooms(), ['Room 101', 'Room 102', 'Room 103'])
    await seam.spaces.removeAcsEntrances({ space_id, acs_entrance_ids: [hotel.rooms[0]] })
    equal(await rooms(), ['Room 102', 'Room 103'])
    equal((await seam.spaces.get({ space_id })).acs_entrance_count, 2)
    equal((await seam.acs.entrances.get({ acs_entrance_id: hotel.rooms[2] })).space_ids, [space_id])
    const grant = await hotel.grant({ acs_entrance_ids: undefined, space_ids: [space_id] })
    equal(grant.space_ids, [space_id])
    equal(await seam.accessGrants.list({ space_id }), [grant])
    await seam.spaces.delete({ space_id })
    await refused(404, 'space_not_found', () => seam.spaces.get({ space_id }))
    equal((await seam.acs.entrances.get({ acs_entrance_id: hotel.rooms[2] })).space_ids, [])
  },

  // Lists, events, webhooks.

  async pages(seam) {
    const made = []
    for (let number = 0; number < 5; number += 1) {
      made.push((await seam.userIdentities.create({ full_name: `Page ${number}` })).user_identity_id)
    }
    const paginator = () => seam.createPaginator(seam.userIdentities.list({ limit: 2, search: 'Page ' }))
    const [page, pagination] = await paginator().firstPage()
    equal([page.length, pagination.hasNextPage], [2, true])
    // A list that is read by POST, as the older SDK reads this one, has no URL of its next page.
    const url = pagination.nextPageUrl
    assert.ok(url == null ? seam.userIdentities.list({}).method === 'POST' : url.startsWith(process.env.SEAM_ENDPOINT), url)
    const [following] = await paginator().nextPage(pagination.nextPageCursor)
    const ids = (list) => list.map((one) => one.user_identity_id)
    equal(ids(page).filter((id) => ids(following).includes(id)), [])
    equal(sorted(ids(await paginator().flattenToArray())), sorted(made))
    let count = 0
    for await (const identity of paginator().flatten()) count += made.includes(identity.user_identity_id) ? 1 : 100
    equal(count, 5)
    for (const resource of [
      seam.accessGrants,
      seam.acs.credentials,
      seam.acs.encoders,
      seam.acs.entrances,
      seam.acs.users,
      seam.actionAttempts,
      seam.spaces,
    ]) {
      const walked = await seam.createPaginator(resource.list({ limit: 1 })).flattenToArray()
      equal(walked.length, (await resource.list()).length)
    }
    await invalid('page_cursor', () => seam.userIdentities.list({ page_cursor: 'bm9uc2Vuc2U=' }))
  },

  async events(seam, hotel) {
    const { acs_user_id } = await hotel.user('Edith Clarke')
    const [event, ...others] = await seam.events.list({ acs_user_id })
    equal(others, [])
    equal([event.event_type, event.acs_user_id, event.acs_system_id], ['acs_user.created', acs_user_id, hotel.system])
    assert.match(event.occurred_at, TIME)
    const { event_id } = event
    equal(await seam.events.get({ event_id }), event)
    const [early, late] = [hour_from(event.created_at, -1), hour_from(event.created_at, 1)]
    for (const [which, expected] of [
      [{ event_ids: [event_id] }, [event]],
      [{ acs_user_id, since: early }, [event]],
      [{ acs_user_id, since: late }, []],
      [{ acs_user_id, between: [early, late] }, [event]],
      [{ acs_user_id, event_type: 'acs_user.deleted' }, []],
    ]) {
      equal(await seam.events.list(which), expected, JSON.stringify(which))
    }
    await seam.acs.users.delete({ acs_user_id })
    const event_types = ['acs_user.created', 'acs_user.deleted']
    equal(await hotel.event_types({ acs_user_id, event_types }), event_types)
    equal((await seam.events.list({ acs_system_id: hotel.system, limit: 1 })).length, 1)
    await refused(404, 'event_not_found', () => seam.events.get({ event_id: randomUUID() }))
    await invalid('since', () => seam.events.list({ since: 'yesterday' }))
  },

  async webhooks(seam, hotel) {
    const receiver = await Receiver.start()
    try {
      const made = await seam.webhooks.create({ url: receiver.url, event_types: ['acs_user.created'] })
      equal([made.url, made.event_types], [receiver.url, ['acs_user.created']])
      assert.match(made.secret, /^whsec_/)
      const { webhook_id } = made
      equal((await seam.webhooks.get({ webhook_id })).url, receiver.url)
      assert.ok((await seam.webhooks.list()).some((one) => one.webhook_id === webhook_id))
      const { acs_user_id } = await hotel.user('Katherine Johnson')
      const { headers, body } = await receiver.next()
      const event = new SeamWebhook(made.secret).verify(body, headers)
      equal([event.event_type, event.acs_user_id], ['acs_user.created', acs_user_id])
      equal([event], await seam.events.list({ acs_user_id }))
      assert.throws(() => new SeamWebhook(made.secret).verify(body.replace('created', 'deleted'), headers))
      await seam.webhooks.update({ webhook_id, event_types: ['acs_user.deleted'] })
      equal((await seam.webhooks.get({ webhook_id })).event_types, ['acs_user.deleted'])
      const other = await hotel.user('Dorothy Vaughan')
      await seam.acs.users.delete({ acs_user_id: other.acs_user_id })
      const second = await receiver.next()
      equal(new SeamWebhook(made.secret).verify(second.body, second.headers).event_type, 'acs_user.deleted')
      equal((await seam.webhooks.create({ url: receiver.url })).event_types, ['*'])
      for (const one of await seam.webhooks.list()) await seam.webhooks.delete({ webhook_id: one.webhook_id })
      equal(await seam.webhooks.list(), [])
      await refused(404, 'webhook_not_found', () => seam.webhooks.get({ webhook_id }))
      await invalid('url', () => seam.webhooks.create({ url: 'nowhere' }))
    } finally {
      receiver.stop()
    }
  },

  // Simulation.

  async simulated_encodes(seam, hotel) {
    const { simulate } = seam.acs.encoders
    const acs_encoder_id = hotel.encoders.Dispenser
    let made = await hotel.credential()
    for (const error_code of [
      'no_credential_on_encoder',
      'encoding_interrupted',
      'uncategorized_error',
      'action_attempt_expired',
    ]) {
      await simulate.nextCredentialEncodeWillFail({ acs_encoder_id, error_code })
      await fails(error_code, () => hotel.encode(made))
    }
    await simulate.nextCredentialEncodeWillFail({ acs_encoder_id })
    await fails('no_credential_on_encoder', () => hotel.encode(made))
    // Once only: this one is real.
    equal((await hotel.encode(made)).result.is_issued, true)
    made = await hotel.credential()
    await simulate.nextCredentialEncodeWillSucceed({
      acs_encoder_id: hotel.encoders.Empty,
      scenario: 'credential_is_issued',
    })
    equal((await hotel.encode(made, 'Empty')).result.is_issued, true)
    equal((await hotel.shown(made)).is_issued, true)
    await invalid('error_code', () =>
      simulate.nextCredentialEncodeWillFail({ acs_encoder_id, error_code: 'incompatible_card_format' }),
    )
    await refused(404, 'acs_encoder_not_found', () =>
      simulate.nextCredentialEncodeWillFail({ acs_encoder_id: randomUUID() }),
    )
  },

  async simulated_scans(seam, hotel) {
    const { simulate } = seam.acs.encoders
    for (const error_code of ['no_credential_on_encoder', 'uncategorized_error', 'action_attempt_expired']) {
      await simulate.nextCredentialScanWillFail({ acs_encoder_id: hotel.encoders['Front Desk'], error_code })
      await fails(error_code, () => hotel.scan('Front Desk'))
    }
    const made = await hotel.credential()
    await hotel.encode(made)
    const acs_credential_id_on_seam = made.acs_credential_id
    const scan = async (which) => {
      await simulate.nextCredentialScanWillSucceed({ acs_encoder_id: hotel.encoders.Empty, ...which })
      return (await hotel.scan('Empty')).result
    }
    let found = await scan({ acs_credential_id_on_seam, scenario: 'credential_exists_on_seam' })
    equal([found.acs_credential_on_seam.acs_credential_id, found.warnings], [acs_credential_id_on_seam, []])
    found = await scan({ acs_credential_id_on_seam, scenario: 'credential_on_encoder_needs_update' })
    equal(codes(found.warnings), ['acs_credential_on_encoder_out_of_sync'])
    found = await scan({ scenario: 'credential_does_not_exist_on_seam' })
    equal(codes(found.warnings), ['acs_credential_on_seam_not_found'])
    assert.notEqual(found.acs_credential_on_encoder, null)
    equal(found.acs_credential_on_seam, null)
    found = await scan({ scenario: 'credential_on_encoder_is_empty' })
    equal([found.acs_credential_on_encoder, found.acs_credential_on_seam], [null, null])
    await fails('no_credential_on_encoder', () => hotel.scan('Empty'))
  },

  // Errors.

  async who_may_not_come_in(seam, hotel) {
    const stranger = new Seam({ apiKey: 'seam_somebody_elses_key', endpoint: process.env.SEAM_ENDPOINT })
    for (const call of [
      () => stranger.acs.systems.list(),
      () => stranger.acs.users.create({ acs_system_id: hotel.system, full_name: 'X' }),
    ]) {
      const error = await thrown(call)
      assert.ok(isSeamHttpUnauthorizedError(error), String(error))
      equal([error.statusCode, error.code], [401, 'unauthorized'])
    }
  },

  async what_is_wrong_with_the_input_is_said(seam, hotel) {
    const acs_encoder_id = hotel.encoders['Front Desk']
    await invalid('acs_encoder_id', () => seam.acs.encoders.get({ acs_encoder_id: 'front desk' }))
    await invalid('acs_credential_id', () =>
      seam.acs.encoders.encodeCredential({ acs_encoder_id, acs_credential_id: 'card' }),
    )
    await refused(400, 'invalid_input', () => seam.acs.encoders.encodeCredential({ acs_encoder_id }))
    await invalid('access_method', () => hotel.credential({ access_method: 'whistle' }))
    await invalid('requested_access_methods', () => hotel.grant({ requested_access_methods: [] }))
    await refused(404, 'acs_credential_not_found', () =>
      seam.acs.encoders.encodeCredential({ acs_encoder_id, acs_credential_id: randomUUID() }),
    )
  },

  async a_personal_access_token_comes_in_with_its_workspace(seam) {
    const { SEAM_TEST_PERSONAL_ACCESS_TOKEN: token, SEAM_TEST_WORKSPACE_ID: workspace } = process.env
    const endpoint = process.env.SEAM_ENDPOINT
    const person = Seam.fromPersonalAccessToken(token, workspace, { endpoint })
    equal(await person.workspaces.get(), await seam.workspaces.get())
    equal(await person.acs.systems.list(), await seam.acs.systems.list())
    const elsewhere = Seam.fromPersonalAccessToken(token, randomUUID(), { endpoint })
    const error = await thrown(() => elsewhere.workspaces.get())
    assert.ok([401, 403, 404].includes(error.statusCode), String(error))
  },
}

/** A web server that takes one webhook's deliveries. */
class Receiver {
  #deliveries = []
  #server

  static async start() {
    const receiver = new Receiver()
    receiver.#server = createServer(async (request, response) => {
      const chunks = []
      for await (const chunk of request) chunks.push(chunk)
      receiver.#deliveries.push({ headers: request.headers, body: Buffer.concat(chunks).toString() })
      response.writeHead(204).end()
      receiver.#server.emit('delivered')
    })
    receiver.#server.listen(0, '127.0.0.1')
    await once(receiver.#server, 'listening')
    receiver.url = `http://127.0.0.1:${receiver.#server.address().port}/hook`
    return receiver
  }

  async next() {
    if (this.#deliveries.length === 0) await once(this.#server, 'delivered', { signal: AbortSignal.timeout(10_000) })
    return this.#deliveries.shift()
  }

  stop() {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

/** Where in this file something went wrong, not where in the SDK. */
const places = (error) => [...String(error.stack).matchAll(/suite\.mjs:(\d+)/g)].map(([, line]) => line)

const seam = new Seam()
const hotel = await Hotel.of(seam)
let [passed, failed, left_out] = [0, 0, 0]
for (const [name, run] of Object.entries(CHECKS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  try {
    const why_not = await run(seam, hotel)
    if (why_not == null) {
      passed += 1
      console.log(`ok      ${name}`)
    } else {
      left_out += 1
      console.log(`not run ${name}: ${why_not}`)
    }
  } catch (error) {
    failed += 1
    console.log(`FAILED  ${name}: ${error.name}: ${error.message}\n            lines ${places(error).join(', ')}`)
  }
}
console.log(`${passed} passed, ${failed} failed, ${left_out} skipped`)
process.exit(failed === 0 ? 0 : 1)
