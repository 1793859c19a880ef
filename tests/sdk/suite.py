#!/usr/bin/env python3
"""Everything of the Seam API that the hub has, called through the official SDK for Python, unmodified.

Environment: SEAM_ENDPOINT and SEAM_API_KEY, both read by the SDK itself. The hub is a new one of the tests, with the
rooms 101 to 103 and the encoders of tests/support/auto_desk.rs. SEAM_TEST_PERSONAL_ACCESS_TOKEN and
SEAM_TEST_WORKSPACE_ID: another way in.

Each check runs, whatever became of those before; exit 0 when all passed. suite.mjs has the same checks.
"""

import json
import os
import sys
import threading
import traceback
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from uuid import UUID, uuid4

from seam import (
    NULL,
    Seam,
    SeamActionAttemptFailedError,
    SeamActionAttemptTimeoutError,
    SeamHttpApiError,
    SeamHttpInvalidInputError,
    SeamHttpUnauthorizedError,
    SeamWebhook,
    SeamWebhookVerificationError,
)

STARTS_AT = "2025-07-13T15:00:00.000Z"
ENDS_AT = "2031-07-16T11:00:00.000Z"
LATER = "2031-07-18T11:00:00.000Z"

CHECKS = []


def check(function):
    """What is run, in the order of the file."""
    CHECKS.append(function)
    return function


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def a_uuid(text):
    equal(str(UUID(text)), text)


def a_time(text):
    assert datetime.fromisoformat(text).tzinfo is not None, text


@contextmanager
def refused(status, code):
    """The hub must refuse this with an error of the SDK's own; it is yielded as a list of one."""
    caught = []
    try:
        yield caught
    except SeamHttpApiError as error:
        caught.append(error)
        equal((error.status_code, error.code), (status, code))
        a_uuid(error.request_id)
        assert str(error), "an error without a message"
    assert caught, f"not refused with {code}"


@contextmanager
def invalid(parameter):
    """The hub must refuse this because of this parameter."""
    with refused(400, "invalid_input") as caught:
        yield
    (error,) = caught
    assert isinstance(error, SeamHttpInvalidInputError), type(error)
    named = {one.parameter_name for one in error.validation_errors}
    assert parameter in named, f"{parameter} is not in {named}"
    assert error.get_validation_error_messages(parameter)[0], parameter


@contextmanager
def fails(code):
    """The action attempt must end with this."""
    try:
        yield
    except SeamActionAttemptFailedError as error:
        equal(error.code, code)
        attempt = error.action_attempt
        equal((attempt.status, attempt.error.type, attempt.result), ("error", code, None))
        assert str(error) == attempt.error.message != "", error
        return
    raise AssertionError(f"did not fail with {code}")


class Hotel:
    """What the hub has from the start, and the ways to what is needed again and again."""

    def __init__(self, seam):
        self.seam = seam
        (system,) = seam.acs.systems.list()
        self.system = system.acs_system_id
        rooms = {entrance.display_name: entrance.acs_entrance_id for entrance in seam.acs.entrances.list()}
        self.rooms = [rooms[name] for name in ("Room 101", "Room 102", "Room 103")]
        self.encoders = {encoder.display_name: encoder.acs_encoder_id for encoder in seam.acs.encoders.list()}

    def user(self, name="Jane Doe", **more):
        return self.seam.acs.users.create(acs_system_id=self.system, full_name=name, **more)

    def credential(self, **more):
        what = {
            "access_method": "card",
            "allowed_acs_entrance_ids": self.rooms[:2],
            "starts_at": STARTS_AT,
            "ends_at": ENDS_AT,
        }
        if "acs_user_id" not in more and "acs_system_id" not in more:
            what["acs_user_id"] = self.user().acs_user_id
        return self.seam.acs.credentials.create(**{**what, **more})

    def encode(self, credential, encoder="Dispenser", **more):
        return self.seam.acs.encoders.encode_credential(
            acs_encoder_id=self.encoders[encoder], acs_credential_id=credential.acs_credential_id, **more
        )

    def scan(self, encoder, **more):
        return self.seam.acs.encoders.scan_credential(acs_encoder_id=self.encoders[encoder], **more)

    def shown(self, credential):
        return self.seam.acs.credentials.get(acs_credential_id=credential.acs_credential_id)

    def grant(self, **more):
        what = {
            "requested_access_methods": [{"mode": "card"}],
            "acs_entrance_ids": [self.rooms[0]],
            "starts_at": STARTS_AT,
            "ends_at": ENDS_AT,
        }
        if "user_identity_id" not in more and "user_identity" not in more:
            what["user_identity"] = {"full_name": "Jane Doe"}
        return self.seam.access_grants.create(**{**what, **more})

    def method(self, grant):
        return self.seam.access_methods.get(access_method_id=grant.access_method_ids[0])

    def event_types(self, **which):
        return [event.event_type for event in self.seam.events.list(**which)]


# What there is.


@check
def the_workspace(seam, hotel):
    workspace = seam.workspaces.get()
    a_uuid(workspace.workspace_id)
    assert workspace.name and workspace.company_name, workspace
    equal((workspace.is_suspended, workspace.connect_partner_name), (False, None))
    assert workspace.is_sandbox in (True, False), workspace


@check
def the_access_system(seam, hotel):
    system = seam.acs.systems.get(acs_system_id=hotel.system)
    equal((system.name, system.location.time_zone), ("Hotel Test", "Europe/Zurich"))
    equal((system.errors, system.is_credential_manager), ([], False))
    a_time(system.created_at)
    equal(seam.acs.systems.list(), [system])
    equal(seam.acs.systems.list(connected_account_id=system.connected_account_id), [system])
    equal([seam.acs.systems.list(search=word) for word in ("hotel", "motel")], [[system], []])
    with refused(404, "acs_system_not_found"):
        seam.acs.systems.get(acs_system_id=str(uuid4()))


@check
def entrances(seam, hotel):
    entrance = seam.acs.entrances.get(acs_entrance_id=hotel.rooms[0])
    equal((entrance.display_name, entrance.acs_system_id), ("Room 101", hotel.system))
    equal((entrance.errors, entrance.warnings), ([], []))

    def names(**which):
        return sorted(found.display_name for found in seam.acs.entrances.list(**which))

    every = ["Room 101", "Room 102", "Room 103"]
    equal(names(), every)
    equal(names(acs_system_id=hotel.system), every)
    equal(names(acs_system_id=str(uuid4())), [])
    equal(names(acs_entrance_ids=hotel.rooms[1:]), every[1:])
    equal(names(acs_entrance_ids=[hotel.rooms[2]]), every[2:])
    equal(names(acs_entrance_ids=[]), [])
    equal(names(search="room 10"), every)
    equal(names(search="102"), ["Room 102"])
    equal(names(acs_credential_id=hotel.credential().acs_credential_id), every[:2])
    with refused(404, "acs_entrance_not_found"):
        seam.acs.entrances.get(acs_entrance_id=str(uuid4()))


@check
def encoders(seam, hotel):
    encoder = seam.acs.encoders.get(acs_encoder_id=hotel.encoders["Front Desk"])
    equal((encoder.display_name, encoder.acs_system_id, encoder.errors), ("Front Desk", hotel.system, []))
    a_uuid(encoder.connected_account_id)
    a_uuid(encoder.workspace_id)
    a_time(encoder.created_at)

    def names(**which):
        return {found.display_name for found in seam.acs.encoders.list(**which)}

    equal(names(), set(hotel.encoders))
    equal(names(acs_system_id=hotel.system), set(hotel.encoders))
    equal(names(acs_system_ids=[hotel.system, str(uuid4())]), set(hotel.encoders))
    equal(names(acs_encoder_ids=[hotel.encoders[name] for name in ("Empty", "Silent")]), {"Empty", "Silent"})
    with refused(404, "acs_encoder_not_found"):
        seam.acs.encoders.get(acs_encoder_id=str(uuid4()))


# People.


@check
def user_identities(seam, hotel):
    made = seam.user_identities.create(
        full_name="Ada Lovelace", email_address="ada@example.com", phone_number="+41446681800", user_identity_key="ada"
    )
    equal((made.full_name, made.email_address), ("Ada Lovelace", "ada@example.com"))
    equal((made.phone_number, made.user_identity_key, made.acs_user_ids), ("+41446681800", "ada", []))
    equal(seam.user_identities.get(user_identity_id=made.user_identity_id), made)
    equal(seam.user_identities.get(user_identity_key="ada"), made)
    equal(seam.user_identities.list(user_identity_ids=[made.user_identity_id]), [made])
    equal(seam.user_identities.list(search="LOVELACE"), [made])
    before = (datetime.fromisoformat(made.created_at) - timedelta(days=1)).isoformat()
    equal(seam.user_identities.list(search="LOVELACE", created_before=before), [])
    equal(seam.user_identities.update(user_identity_id=made.user_identity_id, full_name="Ada King", phone_number=NULL), None)
    now = seam.user_identities.get(user_identity_id=made.user_identity_id)
    equal((now.full_name, now.phone_number, now.email_address), ("Ada King", None, "ada@example.com"))
    equal(seam.user_identities.delete(user_identity_id=made.user_identity_id), None)
    with refused(404, "user_identity_not_found"):
        seam.user_identities.get(user_identity_id=made.user_identity_id)
    with invalid("email_address"):
        seam.user_identities.create(email_address="at home")


@check
def acs_users(seam, hotel):
    identity = seam.user_identities.create(full_name="Grace Hopper", email_address="grace@example.com")
    user = hotel.user(
        "Grace Hopper",
        email_address="grace@example.com",
        phone_number="+41446681801",
        access_schedule={"starts_at": STARTS_AT, "ends_at": ENDS_AT},
    )
    equal((user.full_name, user.email_address, user.phone_number), ("Grace Hopper", "grace@example.com", "+41446681801"))
    equal((user.access_schedule.starts_at, user.access_schedule.ends_at), (STARTS_AT, ENDS_AT))
    equal((user.is_managed, user.errors, user.user_identity_id), (True, [], None))
    equal(seam.user_identities.add_acs_user(user_identity_id=identity.user_identity_id, acs_user_id=user.acs_user_id), None)
    linked = seam.acs.users.get(acs_user_id=user.acs_user_id)
    equal((linked.user_identity_id, linked.user_identity_email_address), (identity.user_identity_id, "grace@example.com"))
    equal(seam.acs.users.get(acs_system_id=hotel.system, user_identity_id=identity.user_identity_id), linked)
    equal(seam.user_identities.get(user_identity_id=identity.user_identity_id).acs_user_ids, [user.acs_user_id])
    for which in (
        {"search": "hopper"},
        {"user_identity_id": identity.user_identity_id},
        {"user_identity_email_address": "grace@example.com"},
        {"acs_system_id": hotel.system, "search": "grace"},
    ):
        equal(seam.acs.users.list(**which), [linked])
    seam.acs.users.update(acs_user_id=user.acs_user_id, full_name="Grace M. Hopper", email_address="admiral@example.com")
    now = seam.acs.users.get(acs_user_id=user.acs_user_id)
    equal((now.full_name, now.email_address), ("Grace M. Hopper", "admiral@example.com"))
    seam.acs.users.delete(acs_user_id=user.acs_user_id)
    with refused(404, "acs_user_not_found"):
        seam.acs.users.get(acs_user_id=user.acs_user_id)
    equal(hotel.event_types(acs_user_id=user.acs_user_id), ["acs_user.created", "acs_user.deleted"])


# Credentials and cards.


@check
def credentials(seam, hotel):
    user = hotel.user("Alan Turing")
    made = hotel.credential(acs_user_id=user.acs_user_id)
    equal((made.access_method, made.acs_user_id, made.acs_system_id), ("card", user.acs_user_id, hotel.system))
    equal((made.starts_at, made.ends_at), (STARTS_AT, ENDS_AT))
    equal((made.is_issued, made.issued_at, made.card_number, made.is_managed), (False, None, None, True))
    equal([warning.warning_code for warning in made.warnings], ["waiting_to_be_issued"])
    equal(hotel.shown(made), made)
    equal(seam.acs.credentials.list(acs_user_id=user.acs_user_id), [made])
    equal(seam.acs.credentials.list(acs_user_id=user.acs_user_id, acs_system_id=hotel.system), [made])
    assert made in seam.acs.credentials.list(acs_system_id=hotel.system)
    assert made in seam.acs.credentials.list()
    rooms = seam.acs.credentials.list_accessible_entrances(acs_credential_id=made.acs_credential_id)
    equal(sorted(room.display_name for room in rooms), ["Room 101", "Room 102"])
    seam.acs.credentials.update(acs_credential_id=made.acs_credential_id, ends_at=LATER)
    equal(hotel.shown(made).ends_at, LATER)
    with invalid("ends_at"):
        seam.acs.credentials.update(acs_credential_id=made.acs_credential_id, ends_at="2025-07-13T14:00:00Z")
    seam.acs.credentials.delete(acs_credential_id=made.acs_credential_id)
    with refused(404, "acs_credential_not_found"):
        hotel.shown(made)
    equal(hotel.event_types(acs_credential_id=made.acs_credential_id), ["acs_credential.deleted"])


@check
def credentials_of_nobody_and_of_somebody_else(seam, hotel):
    made = hotel.credential(acs_system_id=hotel.system)
    equal(made.acs_user_id, None)
    one, other = hotel.user("Emmy Noether"), hotel.user("Sofja Kowalewskaja")
    seam.acs.credentials.assign(acs_credential_id=made.acs_credential_id, acs_user_id=one.acs_user_id)
    equal(hotel.shown(made).acs_user_id, one.acs_user_id)
    equal([one.acs_credential_id for one in seam.acs.credentials.list(acs_user_id=one.acs_user_id)], [made.acs_credential_id])
    seam.acs.credentials.unassign(acs_credential_id=made.acs_credential_id, acs_user_id=one.acs_user_id)
    equal(hotel.shown(made).acs_user_id, None)
    seam.acs.credentials.assign(acs_credential_id=made.acs_credential_id, acs_user_id=other.acs_user_id)
    equal(hotel.shown(made).acs_user_id, other.acs_user_id)
    identity = seam.user_identities.create(full_name="Lise Meitner")
    seam.acs.credentials.unassign(acs_credential_id=made.acs_credential_id, acs_user_id=other.acs_user_id)
    seam.acs.credentials.assign(acs_credential_id=made.acs_credential_id, user_identity_id=identity.user_identity_id)
    equal(hotel.shown(made).user_identity_id, identity.user_identity_id)
    with refused(404, "acs_user_not_found"):
        seam.acs.credentials.assign(acs_credential_id=made.acs_credential_id, acs_user_id=str(uuid4()))


@check
def vendors_metadata_is_kept(seam, hotel):
    made = hotel.credential(
        visionline_metadata={"card_format": "rfid48", "card_function_type": "guest", "override": True, "joiner_acs_credential_ids": []},
    )
    for shown in (made, hotel.shown(made)):
        equal(shown.visionline_metadata.card_function_type, "guest")


@check
def a_credential_goes_onto_a_card_and_reads_back(seam, hotel):
    # As the SDK waits when nobody says how.
    made = hotel.credential()
    attempt = hotel.encode(made, "Front Desk")
    equal((attempt.action_type, attempt.status, attempt.error), ("ENCODE_CREDENTIAL", "success", None))
    result = attempt.result
    equal((result.acs_credential_id, result.is_issued), (made.acs_credential_id, True))
    a_time(result.issued_at)
    shown = hotel.shown(made)
    equal((shown.is_issued, shown.card_number, shown.warnings), (True, result.card_number, []))
    scan = hotel.scan("Front Desk")
    equal((scan.action_type, scan.status, scan.error), ("SCAN_CREDENTIAL", "success", None))
    card, on_seam = scan.result.acs_credential_on_encoder, scan.result.acs_credential_on_seam
    equal((card.card_number, card.is_issued), (shown.card_number, True))
    equal((card.starts_at, card.ends_at), (STARTS_AT, ENDS_AT))
    equal((on_seam.acs_credential_id, on_seam.card_number), (made.acs_credential_id, shown.card_number))
    equal(scan.result.warnings, [])
    equal(hotel.event_types(acs_credential_id=made.acs_credential_id), ["acs_credential.issued"])

    seam.acs.credentials.update(acs_credential_id=made.acs_credential_id, ends_at=LATER)
    equal([warning.warning_code for warning in hotel.shown(made).warnings], ["needs_to_be_reissued"])
    (warning,) = hotel.scan("Front Desk").result.warnings
    equal(warning.warning_code, "acs_credential_on_encoder_out_of_sync")
    assert "ends_at" in warning.warning_message, warning
    equal(hotel.encode(made, "Front Desk").result.ends_at, LATER)
    equal(hotel.scan("Front Desk").result.warnings, [])
    issued = ["acs_credential.issued", "acs_credential.reissued"]
    equal(hotel.event_types(acs_credential_id=made.acs_credential_id), issued)

    # The next guest's credential on the same card.
    following = hotel.credential()
    equal(hotel.encode(following, "Front Desk").result.card_number, shown.card_number)
    equal(hotel.event_types(acs_credential_id=made.acs_credential_id), [*issued, "acs_credential.invalidated"])
    seam.acs.credentials.delete(acs_credential_id=following.acs_credential_id)
    scan = hotel.scan("Front Desk").result
    equal(scan.acs_credential_on_seam, None)
    equal(scan.acs_credential_on_encoder.card_number, shown.card_number)
    equal([warning.warning_code for warning in scan.warnings], ["acs_credential_on_seam_not_found"])


@check
def a_credential_that_is_issued_is_not_written_to_another_card(seam, hotel):
    made = hotel.credential()
    hotel.encode(made)
    with fails("credential_cannot_be_reissued"):
        hotel.encode(made, "Front Desk")
    equal(hotel.shown(made).is_issued, True)


@check
def what_goes_wrong_at_the_encoder_is_told(seam, hotel):
    for encoder, code in (
        ("Empty", "no_credential_on_encoder"),
        ("Wrong Cards", "incompatible_card_format"),
        ("Shaky Hands", "encoding_interrupted"),
        ("Silent", "encoder_communication_timeout"),
        ("Unplugged", "encoder_not_online"),
    ):
        made = hotel.credential()
        with fails(code):
            hotel.encode(made, encoder)
        equal(hotel.shown(made).is_issued, False)
    for encoder, code in (
        ("Empty", "no_credential_on_encoder"),
        ("Silent", "encoder_communication_timeout"),
        ("Unplugged", "encoder_not_online"),
    ):
        with fails(code):
            hotel.scan(encoder)


@check
def waiting_is_given_up_and_attempts_stay_readable(seam, hotel):
    made = hotel.credential()
    try:
        hotel.encode(made, "Stuck", wait_for_action_attempt={"timeout": 0.3, "polling_interval": 0.1})
        raise AssertionError("did not time out")
    except SeamActionAttemptTimeoutError as error:
        pending = error.action_attempt
    equal((pending.status, pending.result, pending.error), ("pending", None, None))
    attempt = hotel.encode(hotel.credential(), wait_for_action_attempt=False)
    equal(attempt.action_type, "ENCODE_CREDENTIAL")
    attempt = seam.action_attempts.get(action_attempt_id=attempt.action_attempt_id, wait_for_action_attempt=True)
    equal(attempt.status, "success")
    again = seam.action_attempts.get(action_attempt_id=attempt.action_attempt_id, wait_for_action_attempt=False)
    equal(again, attempt)
    ids = [attempt.action_attempt_id, pending.action_attempt_id]
    listed = {one.action_attempt_id: one.status for one in seam.action_attempts.list(action_attempt_ids=ids)}
    equal(listed, dict(zip(ids, ("success", "pending"))))
    # The credential is deleted while its job waits: nothing is written any more.
    seam.acs.credentials.delete(acs_credential_id=made.acs_credential_id)
    with refused(404, "action_attempt_not_found"):
        seam.action_attempts.get(action_attempt_id=str(uuid4()))


@check
def a_card_that_lies_there_is_assigned(seam, hotel):
    made = hotel.credential(acs_system_id=hotel.system)
    number = hotel.encode(made).result.card_number
    user = hotel.user("Rosalind Franklin")
    attempt = seam.acs.encoders.scan_to_assign_credential(
        acs_encoder_id=hotel.encoders["Dispenser"], acs_user_id=user.acs_user_id
    )
    equal((attempt.action_type, attempt.status), ("SCAN_TO_ASSIGN_CREDENTIAL", "success"))
    equal((attempt.result.card_number, attempt.result.acs_user_id), (number, user.acs_user_id))
    owned = [one.acs_credential_id for one in seam.acs.credentials.list(acs_user_id=user.acs_user_id)]
    equal(owned, [attempt.result.acs_credential_id])
    with fails("no_credential_on_encoder"):
        seam.acs.encoders.scan_to_assign_credential(
            acs_encoder_id=hotel.encoders["Empty"], acs_user_id=user.acs_user_id
        )
    with refused(404, "acs_user_not_found"):
        seam.acs.encoders.scan_to_assign_credential(
            acs_encoder_id=hotel.encoders["Dispenser"], acs_user_id=str(uuid4())
        )


# Grants.


@check
def a_grant_with_all_its_parts(seam, hotel):
    identity = seam.user_identities.create(full_name="Hedy Lamarr")
    grant = hotel.grant(
        user_identity_id=identity.user_identity_id,
        name="Two nights",
        access_grant_key="booking-17/room",
        reservation_key="booking-17",
        acs_entrance_ids=hotel.rooms[:2],
    )
    equal((grant.name, grant.access_grant_key, grant.reservation_key), ("Two nights", "booking-17/room", "booking-17"))
    equal((grant.starts_at, grant.ends_at), (STARTS_AT, ENDS_AT))
    equal((grant.user_identity_id, grant.errors), (identity.user_identity_id, []))
    (requested,) = grant.requested_access_methods
    equal((requested.mode, requested.created_access_method_ids), ("card", grant.access_method_ids))
    equal(seam.access_grants.get(access_grant_id=grant.access_grant_id), grant)
    equal(seam.access_grants.get(access_grant_key="booking-17/room"), grant)
    for which in (
        {"user_identity_id": identity.user_identity_id},
        {"reservation_key": "booking-17"},
        {"access_grant_key": "booking-17/room"},
        {"access_grant_ids": [grant.access_grant_id]},
        {"acs_entrance_id": hotel.rooms[1], "user_identity_id": identity.user_identity_id},
    ):
        equal(seam.access_grants.list(**which), [grant])
    equal(seam.access_grants.list(user_identity_id=identity.user_identity_id, acs_entrance_id=hotel.rooms[2]), [])
    seam.access_grants.update(access_grant_id=grant.access_grant_id, name="Three nights", ends_at=LATER)
    now = seam.access_grants.get(access_grant_id=grant.access_grant_id)
    equal((now.name, now.ends_at), ("Three nights", LATER))
    assert "access_grant.access_times_changed" in hotel.event_types(access_grant_id=grant.access_grant_id)

    now = seam.access_grants.request_access_methods(
        access_grant_id=grant.access_grant_id, requested_access_methods=[{"mode": "card"}]
    )
    equal(now.access_method_ids[:1], grant.access_method_ids)
    equal((len(now.access_method_ids), len(now.requested_access_methods)), (2, 2))
    listed = seam.access_methods.list(access_grant_id=grant.access_grant_id)
    equal({one.access_method_id for one in listed}, set(now.access_method_ids))
    equal(len(seam.access_methods.list(access_grant_key="booking-17/room")), 2)
    seam.access_methods.delete(access_method_id=now.access_method_ids[1])
    with refused(404, "access_method_not_found"):
        seam.access_methods.get(access_method_id=now.access_method_ids[1])
    equal(seam.access_grants.get(access_grant_id=grant.access_grant_id).access_method_ids, grant.access_method_ids)

    seam.access_grants.delete(access_grant_id=grant.access_grant_id)
    with refused(404, "access_grant_not_found"):
        seam.access_grants.get(access_grant_id=grant.access_grant_id)
    with refused(404, "access_method_not_found"):
        seam.access_methods.get(access_method_id=grant.access_method_ids[0])
    with refused(404, "access_grant_not_found"):
        seam.access_grants.get(access_grant_key="booking-17/room")


@check
def a_grants_access_method_goes_onto_a_card(seam, hotel):
    grant = hotel.grant(user_identity={"full_name": "Mary Anning", "email_address": "mary@example.com"})
    method = hotel.method(grant)
    equal((method.mode, method.is_issued, method.issued_at), ("card", False, None))
    equal((method.is_encoding_required, method.is_ready_for_encoding), (True, True))
    attempt = seam.access_methods.encode(
        access_method_id=method.access_method_id, acs_encoder_id=hotel.encoders["Dispenser"]
    )
    equal((attempt.action_type, attempt.status, attempt.result.is_issued), ("ENCODE_CREDENTIAL", "success", True))
    method = hotel.method(grant)
    equal((method.is_issued, method.is_ready_for_encoding, method.issued_at), (True, False, attempt.result.issued_at))
    user = seam.acs.users.get(acs_system_id=hotel.system, user_identity_id=grant.user_identity_id)
    (credential,) = seam.acs.credentials.list(user_identity_id=grant.user_identity_id)
    equal((credential.acs_credential_id, credential.acs_user_id), (attempt.result.acs_credential_id, user.acs_user_id))
    rooms = seam.acs.credentials.list_accessible_entrances(acs_credential_id=credential.acs_credential_id)
    equal([room.display_name for room in rooms], ["Room 101"])
    happened = hotel.event_types(access_method_id=method.access_method_id)
    equal(happened, ["access_method.created", "access_method.card_encoding_required", "access_method.issued"])
    (event,) = seam.events.list(access_method_id=method.access_method_id, event_type="access_method.issued")
    equal(event.access_grant_ids, [grant.access_grant_id])
    # The other way to the same card.
    again = seam.acs.encoders.encode_credential(
        acs_encoder_id=hotel.encoders["Dispenser"], access_method_id=method.access_method_id
    )
    equal(again.result.acs_credential_id, credential.acs_credential_id)
    equal(hotel.event_types(access_method_id=method.access_method_id)[3:], ["access_method.reissued"])
    with fails("no_credential_on_encoder"):
        seam.access_methods.encode(
            access_method_id=hotel.grant().access_method_ids[0], acs_encoder_id=hotel.encoders["Empty"]
        )


@check
def a_card_that_was_made_before_is_given_to_a_grant(seam, hotel):
    made = hotel.credential(acs_system_id=hotel.system)
    number = hotel.encode(made).result.card_number
    grant = hotel.grant()
    attempt = seam.access_methods.assign_card(access_method_id=grant.access_method_ids[0], card_number=number)
    equal((attempt.action_type, attempt.status), ("ASSIGN_CREDENTIAL", "success"))
    equal(attempt.result.access_method_id, grant.access_method_ids[0])
    with fails("credential_not_found"):
        seam.access_methods.assign_card(access_method_id=hotel.grant().access_method_ids[0], card_number="04FFFFFF")


@check
def methods_go_with_their_grant_or_reservation(seam, hotel):
    for which in ("access_grant_id", "reservation_key"):
        grant = hotel.grant(reservation_key=f"booking-by-{which}")
        seam.access_methods.delete(**{which: getattr(grant, which)})
        with refused(404, "access_method_not_found"):
            hotel.method(grant)


@check
def spaces(seam, hotel):
    made = seam.spaces.create(name="First floor", space_key="floor-1", acs_entrance_ids=hotel.rooms[:2])
    equal((made.name, made.space_key), ("First floor", "floor-1"))
    equal((made.acs_entrance_count, made.device_count), (2, 0))
    equal(seam.spaces.get(space_id=made.space_id), made)
    equal(seam.spaces.get(space_key="floor-1"), made)
    equal(seam.spaces.list(search="first"), [made])
    equal(seam.spaces.list(space_key="floor-1"), [made])

    def rooms():
        return sorted(room.display_name for room in seam.acs.entrances.list(space_id=made.space_id))

    equal(rooms(), ["Room 101", "Room 102"])
    seam.spaces.add_acs_entrances(space_id=made.space_id, acs_entrance_ids=[hotel.rooms[2]])
    equal(rooms(), ["Room 101", "Room 102", "Room 103"])
    seam.spaces.remove_acs_entrances(space_id=made.space_id, acs_entrance_ids=hotel.rooms[:1])
    equal(rooms(), ["Room 102", "Room 103"])
    equal(seam.spaces.get(space_id=made.space_id).acs_entrance_count, 2)
    equal(seam.acs.entrances.get(acs_entrance_id=hotel.rooms[2]).space_ids, [made.space_id])
    grant = hotel.grant(acs_entrance_ids=None, space_ids=[made.space_id])
    equal(grant.space_ids, [made.space_id])
    equal(seam.access_grants.list(space_id=made.space_id), [grant])
    seam.spaces.delete(space_id=made.space_id)
    with refused(404, "space_not_found"):
        seam.spaces.get(space_id=made.space_id)
    equal(seam.acs.entrances.get(acs_entrance_id=hotel.rooms[2]).space_ids, [])


# Lists, events, webhooks.


@check
def pages(seam, hotel):
    made = [seam.user_identities.create(full_name=f"Page {number}").user_identity_id for number in range(5)]
    paginator = seam.create_paginator(seam.user_identities.list, {"limit": 2, "search": "Page "})
    page, pagination = paginator.first_page()
    equal((len(page), pagination.has_next_page), (2, True))
    assert pagination.next_page_url.startswith(os.environ["SEAM_ENDPOINT"]), pagination
    following, _ = paginator.next_page(pagination.next_page_cursor)
    assert not {one.user_identity_id for one in page} & {one.user_identity_id for one in following}
    equal(sorted(one.user_identity_id for one in paginator.flatten_to_list()), sorted(made))
    equal(len(list(paginator.flatten())), 5)
    for lister in (
        seam.access_grants.list,
        seam.acs.credentials.list,
        seam.acs.encoders.list,
        seam.acs.entrances.list,
        seam.acs.users.list,
        seam.action_attempts.list,
        seam.spaces.list,
    ):
        walked = seam.create_paginator(lister, {"limit": 1}).flatten_to_list()
        equal(len(walked), len(lister()))
    with invalid("page_cursor"):
        seam.user_identities.list(page_cursor="bm9uc2Vuc2U=")


@check
def events(seam, hotel):
    user = hotel.user("Edith Clarke")
    (event,) = seam.events.list(acs_user_id=user.acs_user_id)
    equal((event.event_type, event.acs_user_id, event.acs_system_id), ("acs_user.created", user.acs_user_id, hotel.system))
    a_time(event.occurred_at)
    equal(seam.events.get(event_id=event.event_id), event)
    equal(seam.events.list(event_ids=[event.event_id]), [event])
    hour = timedelta(hours=1)
    at = datetime.fromisoformat(event.created_at)
    early, late = (at - hour).isoformat(), (at + hour).isoformat()
    equal(seam.events.list(acs_user_id=user.acs_user_id, since=early), [event])
    equal(seam.events.list(acs_user_id=user.acs_user_id, since=late), [])
    equal(seam.events.list(acs_user_id=user.acs_user_id, between=[early, late]), [event])
    equal(seam.events.list(acs_user_id=user.acs_user_id, event_type="acs_user.deleted"), [])
    seam.acs.users.delete(acs_user_id=user.acs_user_id)
    wanted = ["acs_user.created", "acs_user.deleted"]
    equal([one.event_type for one in seam.events.list(acs_user_id=user.acs_user_id, event_types=wanted)], wanted)
    equal(len(seam.events.list(acs_system_id=hotel.system, limit=1)), 1)
    with refused(404, "event_not_found"):
        seam.events.get(event_id=str(uuid4()))
    with invalid("since"):
        seam.events.list(since="yesterday")


class Receiver:
    """A web server that takes one webhook's deliveries."""

    def __init__(self):
        received = self.received = Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                received.put((dict(self.headers), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@check
def webhooks(seam, hotel):
    receiver = Receiver()
    made = seam.webhooks.create(url=receiver.url, event_types=["acs_user.created"])
    equal((made.url, made.event_types), (receiver.url, ["acs_user.created"]))
    assert made.secret.startswith("whsec_"), made
    equal(seam.webhooks.get(webhook_id=made.webhook_id).url, receiver.url)
    assert made.webhook_id in [one.webhook_id for one in seam.webhooks.list()]
    user = hotel.user("Katherine Johnson")
    headers, body = receiver.received.get(timeout=10)
    event = SeamWebhook(made.secret).verify(body, headers)
    equal((event.event_type, event.acs_user_id), ("acs_user.created", user.acs_user_id))
    equal(json.loads(body)["event_id"], seam.events.list(acs_user_id=user.acs_user_id)[0].event_id)
    try:
        SeamWebhook(made.secret).verify(body.replace("created", "deleted"), headers)
        raise AssertionError("a changed body was not noticed")
    except SeamWebhookVerificationError:
        pass
    seam.webhooks.update(webhook_id=made.webhook_id, event_types=["acs_user.deleted"])
    equal(seam.webhooks.get(webhook_id=made.webhook_id).event_types, ["acs_user.deleted"])
    other = hotel.user("Dorothy Vaughan")
    seam.acs.users.delete(acs_user_id=other.acs_user_id)
    headers, body = receiver.received.get(timeout=10)
    equal(SeamWebhook(made.secret).verify(body, headers).event_type, "acs_user.deleted")
    equal(seam.webhooks.create(url=receiver.url).event_types, ["*"])
    for one in seam.webhooks.list():
        seam.webhooks.delete(webhook_id=one.webhook_id)
    equal(seam.webhooks.list(), [])
    with refused(404, "webhook_not_found"):
        seam.webhooks.get(webhook_id=made.webhook_id)
    with invalid("url"):
        seam.webhooks.create(url="nowhere")
    receiver.server.shutdown()


# Simulation.


@check
def simulated_encodes(seam, hotel):
    simulate, encoder = seam.acs.encoders.simulate, hotel.encoders["Dispenser"]
    made = hotel.credential()
    for code in ("no_credential_on_encoder", "encoding_interrupted", "uncategorized_error", "action_attempt_expired"):
        equal(simulate.next_credential_encode_will_fail(acs_encoder_id=encoder, error_code=code), None)
        with fails(code):
            hotel.encode(made)
    simulate.next_credential_encode_will_fail(acs_encoder_id=encoder)
    with fails("no_credential_on_encoder"):
        hotel.encode(made)
    # Once only: this one is real.
    equal(hotel.encode(made).result.is_issued, True)
    made = hotel.credential()
    simulate.next_credential_encode_will_succeed(
        acs_encoder_id=hotel.encoders["Empty"], scenario="credential_is_issued"
    )
    equal(hotel.encode(made, "Empty").result.is_issued, True)
    equal(hotel.shown(made).is_issued, True)
    with invalid("error_code"):
        simulate.next_credential_encode_will_fail(acs_encoder_id=encoder, error_code="incompatible_card_format")
    with refused(404, "acs_encoder_not_found"):
        simulate.next_credential_encode_will_fail(acs_encoder_id=str(uuid4()))


@check
def simulated_scans(seam, hotel):
    simulate, encoder = seam.acs.encoders.simulate, hotel.encoders["Empty"]
    for code in ("no_credential_on_encoder", "uncategorized_error", "action_attempt_expired"):
        equal(simulate.next_credential_scan_will_fail(acs_encoder_id=hotel.encoders["Front Desk"], error_code=code), None)
        with fails(code):
            hotel.scan("Front Desk")
    made = hotel.credential()
    hotel.encode(made)

    def scan(**which):
        simulate.next_credential_scan_will_succeed(acs_encoder_id=encoder, **which)
        return hotel.scan("Empty").result

    found = scan(acs_credential_id_on_seam=made.acs_credential_id, scenario="credential_exists_on_seam")
    equal((found.acs_credential_on_seam.acs_credential_id, found.warnings), (made.acs_credential_id, []))
    found = scan(acs_credential_id_on_seam=made.acs_credential_id, scenario="credential_on_encoder_needs_update")
    equal([warning.warning_code for warning in found.warnings], ["acs_credential_on_encoder_out_of_sync"])
    found = scan(scenario="credential_does_not_exist_on_seam")
    equal([warning.warning_code for warning in found.warnings], ["acs_credential_on_seam_not_found"])
    assert found.acs_credential_on_encoder is not None and found.acs_credential_on_seam is None, found
    found = scan(scenario="credential_on_encoder_is_empty")
    equal((found.acs_credential_on_encoder, found.acs_credential_on_seam), (None, None))
    with fails("no_credential_on_encoder"):
        hotel.scan("Empty")


# Errors.


@check
def who_may_not_come_in(seam, hotel):
    stranger = Seam(api_key="seam_somebody_elses_key", endpoint=os.environ["SEAM_ENDPOINT"])
    for call in (stranger.acs.systems.list, lambda: stranger.acs.users.create(acs_system_id=hotel.system, full_name="X")):
        try:
            call()
            raise AssertionError("a stranger came in")
        except SeamHttpUnauthorizedError as error:
            equal((error.status_code, error.code), (401, "unauthorized"))


@check
def what_is_wrong_with_the_input_is_said(seam, hotel):
    with invalid("acs_encoder_id"):
        seam.acs.encoders.get(acs_encoder_id="front desk")
    with invalid("acs_credential_id"):
        seam.acs.encoders.encode_credential(acs_encoder_id=hotel.encoders["Front Desk"], acs_credential_id="card")
    with refused(400, "invalid_input"):
        seam.acs.encoders.encode_credential(acs_encoder_id=hotel.encoders["Front Desk"])
    with invalid("access_method"):
        hotel.credential(access_method="whistle")
    with invalid("requested_access_methods"):
        hotel.grant(requested_access_methods=[])
    with refused(404, "acs_credential_not_found"):
        seam.acs.encoders.encode_credential(
            acs_encoder_id=hotel.encoders["Front Desk"], acs_credential_id=str(uuid4())
        )


@check
def a_personal_access_token_comes_in_with_its_workspace(seam, hotel):
    token, workspace = (os.environ[f"SEAM_TEST_{name}"] for name in ("PERSONAL_ACCESS_TOKEN", "WORKSPACE_ID"))
    endpoint = os.environ["SEAM_ENDPOINT"]
    person = Seam(personal_access_token=token, workspace_id=workspace, endpoint=endpoint)
    equal(person.workspaces.get(), seam.workspaces.get())
    equal(person.acs.systems.list(), seam.acs.systems.list())
    try:
        Seam(personal_access_token=token, workspace_id=str(uuid4()), endpoint=endpoint).workspaces.get()
        raise AssertionError("another workspace let the token in")
    except SeamHttpApiError as error:
        assert error.status_code in (401, 403, 404), error.status_code


def main():
    seam = Seam()
    hotel = Hotel(seam)
    wanted = sys.argv[1:]
    passed, failed = 0, 0
    for function in CHECKS:
        if wanted and function.__name__ not in wanted:
            continue
        try:
            function(seam, hotel)
            passed += 1
            print(f"ok      {function.__name__}")
        except Exception as error:
            failed += 1
            print(f"FAILED  {function.__name__}: {type(error).__name__}: {error}")
            # Where in this file, not where in the SDK.
            here = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
            for frame in here[1:]:
                print(f"            line {frame.lineno}: {frame.line}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
