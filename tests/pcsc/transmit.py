"""Sends APDUs with pyscard to the card on a reader, one after the other in one connection.

    transmit.py READER APDU...    each in hex

Prints a JSON object: the card's ATR, and for each APDU what came back, status word included.
"""

import json
import sys

from smartcard.CardRequest import CardRequest
from smartcard.CardType import AnyCardType
from smartcard.System import readers

TIMEOUT_S = 20


def main(name, *apdus):
    (reader,) = [reader for reader in readers() if str(reader) == name]
    # The connection ends with the service that it comes from.
    service = CardRequest(timeout=TIMEOUT_S, cardType=AnyCardType(), readers=[reader]).waitforcard()
    connection = service.connection
    connection.connect()
    answers = []
    for apdu in apdus:
        response, sw1, sw2 = connection.transmit(list(bytes.fromhex(apdu)))
        answers.append(bytes([*response, sw1, sw2]).hex())
    print(json.dumps({"atr": bytes(connection.getATR()).hex(), "answers": answers}))
    connection.disconnect()


main(*sys.argv[1:])
