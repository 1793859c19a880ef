#!/usr/bin/env python3
"""Drives a hub with the official Seam SDK, unmodified, as an app developer would.

Environment: SEAM_ENDPOINT (the hub) and SEAM_API_KEY, both read by the SDK itself.
Prints one line of JSON. Exit 0 when the SDK answered, with a result or with one of its errors
({"error": {"class", "code", "message"}}); exit 2 when the call of this script was wrong.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta, timezone

import httpx
from seam import Seam
from seam.exceptions import SeamError


class UsageError(Exception):
    """What was asked for does not exist at this hub."""


def plain(value):
    """Turns the SDK's objects into what json can print."""
    if is_dataclass(value):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def encoder_id(seam, name):
    """The id of the encoder with this display name (or this id)."""
    encoders = seam.acs.encoders.list()
    for encoder in encoders:
        if name in (encoder.display_name, encoder.acs_encoder_id):
            return encoder.acs_encoder_id
    names = ", ".join(repr(encoder.display_name) for encoder in encoders) or "none"
    raise UsageError(f"no encoder named {name!r}; the hub has: {names}")


def entrance_ids(seam, acs_system_id, count):
    """The first `count` entrances of the access system."""
    entrances = seam.acs.entrances.list(acs_system_id=acs_system_id)
    if len(entrances) < count:
        raise UsageError(f"{count} entrances asked for, and the hub has {len(entrances)}")
    return [entrance.acs_entrance_id for entrance in entrances[:count]]


def acs_system_id(seam):
    """The id of the hub's access system; the script is for hubs that have one."""
    systems = seam.acs.systems.list()
    if len(systems) != 1:
        raise UsageError(f"one access system expected, and the hub has {len(systems)}")
    return systems[0].acs_system_id


def wait(arguments):
    """How the SDK shall wait for an action attempt; 0 takes the attempt as the hub first answered it."""
    return {"timeout": arguments.wait, "polling_interval": 0.2} if arguments.wait > 0 else False


def starts_at():
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def encoders(seam, arguments, made):
    return {"encoders": seam.acs.encoders.list()}


def grant(seam, arguments, made):
    """User identity, access grant with a card, encoded at the encoder."""
    encoder = encoder_id(seam, arguments.encoder)
    doors = entrance_ids(seam, acs_system_id(seam), arguments.entrances)
    identity = seam.user_identities.create(full_name=arguments.guest)
    made["user_identity_id"] = identity.user_identity_id
    access_grant = seam.access_grants.create(
        user_identity_id=identity.user_identity_id,
        acs_entrance_ids=doors,
        requested_access_methods=[{"mode": "card"}],
        starts_at=starts_at(),
        ends_at=arguments.ends_at,
    )
    made["access_grant_id"] = access_grant.access_grant_id
    before = seam.access_methods.get(access_method_id=access_grant.access_method_ids[0])
    made["access_method_id"] = before.access_method_id
    attempt = seam.access_methods.encode(
        access_method_id=before.access_method_id,
        acs_encoder_id=encoder,
        wait_for_action_attempt=wait(arguments),
    )
    after = seam.access_methods.get(access_method_id=before.access_method_id)
    credential = None
    if attempt.status == "success":
        credential = seam.acs.credentials.get(acs_credential_id=attempt.result.acs_credential_id)
    return {
        "access_grant": access_grant,
        "access_method_before": before,
        "attempt": attempt,
        "access_method": after,
        "credential": credential,
    }


def credential(seam, arguments, made):
    """ACS user, credential, encoded at the encoder: the lower-level way to the same card."""
    encoder = encoder_id(seam, arguments.encoder)
    system = acs_system_id(seam)
    doors = entrance_ids(seam, system, arguments.entrances)
    user = seam.acs.users.create(acs_system_id=system, full_name=arguments.guest)
    made["acs_user_id"] = user.acs_user_id
    before = seam.acs.credentials.create(
        acs_user_id=user.acs_user_id,
        access_method="card",
        allowed_acs_entrance_ids=doors,
        starts_at=starts_at(),
        ends_at=arguments.ends_at,
    )
    made["acs_credential_id"] = before.acs_credential_id
    attempt = encode(seam, encoder, before.acs_credential_id, arguments)
    after = seam.acs.credentials.get(acs_credential_id=before.acs_credential_id)
    return {"acs_user": user, "credential_before": before, "attempt": attempt, "credential": after}


def encode_credential(seam, arguments, made):
    """A credential that exists, encoded (again) at the encoder."""
    encoder = encoder_id(seam, arguments.encoder)
    made["acs_credential_id"] = arguments.acs_credential_id
    attempt = encode(seam, encoder, arguments.acs_credential_id, arguments)
    after = seam.acs.credentials.get(acs_credential_id=arguments.acs_credential_id)
    return {"attempt": attempt, "credential": after}


def encode(seam, encoder, acs_credential_id, arguments):
    return seam.acs.encoders.encode_credential(
        acs_encoder_id=encoder,
        acs_credential_id=acs_credential_id,
        wait_for_action_attempt=wait(arguments),
    )


def scan(seam, arguments, made):
    attempt = seam.acs.encoders.scan_credential(
        acs_encoder_id=encoder_id(seam, arguments.encoder),
        wait_for_action_attempt=wait(arguments),
    )
    return {"attempt": attempt}


def update_ends_at(seam, arguments, made):
    seam.acs.credentials.update(acs_credential_id=arguments.acs_credential_id, ends_at=arguments.ends_at)
    return {"credential": seam.acs.credentials.get(acs_credential_id=arguments.acs_credential_id)}


def events(seam, arguments, made):
    return {"events": seam.events.list(since=arguments.since, event_type=arguments.type)}


def attempt(seam, arguments, made):
    return {"attempt": seam.action_attempts.get(action_attempt_id=arguments.id, wait_for_action_attempt=wait(arguments))}


def moment(text):
    """An ISO 8601 time, as it was written."""
    datetime.fromisoformat(text)
    return text


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name, run, help, *, waits=False, issues=False, encoder=False):
        sub = commands.add_parser(name, help=help)
        sub.set_defaults(run=run)
        if encoder:
            sub.add_argument("encoder", metavar="ENCODER", help="display name or id")
        if waits:
            seconds = 0.0 if name == "attempt" else 15.0
            sub.add_argument("--wait", type=float, default=seconds, metavar="SECONDS",
                             help="how long to wait for the attempt; 0: not at all (%(default)s)")
        if issues:
            tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
            sub.add_argument("--entrances", type=int, default=1, metavar="N", help="the first N doors (%(default)s)")
            sub.add_argument("--ends-at", type=moment, default=tomorrow.isoformat(timespec="seconds"), metavar="ISO")
            sub.add_argument("--guest", default="Jane Doe", metavar="NAME")
        return sub

    command("encoders", encoders, "list the encoders")
    command("grant", grant, "issue and encode an access grant's card", waits=True, issues=True, encoder=True)
    command("credential", credential, "issue and encode a credential", waits=True, issues=True, encoder=True)
    again = command("encode-credential", encode_credential, "encode a credential that exists", waits=True, encoder=True)
    again.add_argument("acs_credential_id", metavar="ACS_CREDENTIAL_ID")
    command("scan", scan, "read the card on an encoder", waits=True, encoder=True)
    update = command("update-ends-at", update_ends_at, "change when a credential ends")
    update.add_argument("acs_credential_id", metavar="ACS_CREDENTIAL_ID")
    update.add_argument("ends_at", type=moment, metavar="ISO")
    listing = command("events", events, "list events")
    listing.add_argument("--since", type=moment, metavar="ISO")
    listing.add_argument("--type", metavar="TYPE", help="such as acs_credential.issued")
    one = command("attempt", attempt, "show an action attempt", waits=True)
    one.add_argument("id", metavar="ACTION_ATTEMPT_ID")
    return parser.parse_args(argv)


def main(argv):
    arguments = parse(argv)
    for name in ("SEAM_ENDPOINT", "SEAM_API_KEY"):
        if not os.environ.get(name):
            print(f"flow.py: {name} is not set", file=sys.stderr)
            return 2
    # Ids of what was made before something failed, so that a caller can look at it.
    made = {}
    try:
        with Seam() as seam:
            answer = plain(arguments.run(seam, arguments, made))
    except UsageError as error:
        print(f"flow.py: {error}", file=sys.stderr)
        return 2
    # httpx's own errors are what the SDK raises when an answer has not the API's shape, or there is none.
    except (SeamError, httpx.HTTPError) as error:
        details = {"class": type(error).__name__, "code": getattr(error, "code", None), "message": str(error)}
        if hasattr(error, "status_code"):
            details["status_code"] = error.status_code
        if hasattr(error, "validation_errors"):
            details["validation_errors"] = plain(error.validation_errors)
        answer = {"error": details, "made": made}
        if hasattr(error, "action_attempt"):
            answer["attempt"] = plain(error.action_attempt)
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
