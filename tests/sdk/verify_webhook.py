"""Verifies deliveries with the official library svix: reads a JSON list from standard input, prints a list of verdicts."""

import json
import sys

from svix.webhooks import Webhook, WebhookVerificationError


def verdict(delivery):
    try:
        event = Webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])
    except WebhookVerificationError as error:
        return f"refused: {error}"
    return "ok" if event["event_type"] == "acs_user.created" else f"an event of another type: {event}"


json.dump([verdict(delivery) for delivery in json.load(sys.stdin)], sys.stdout)
