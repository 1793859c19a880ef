"""What a developer writes with pyscard to read a MIFARE Classic card, by the reader's manual.

Waits for a card on the reader that is named, reads its UID and one sector, writes a block when it is told to, and prints
what it found as JSON. The first six arguments: reader, sector, key A or B, key, P2 of LOAD KEYS, key number of GENERAL
AUTHENTICATE. A seventh is the data for the sector's last data block.
"""

import json
import sys

from smartcard.CardRequest import CardRequest
from smartcard.CardType import AnyCardType
from smartcard.System import readers
from smartcard.util import toBytes, toHexString

TIMEOUT_S = 20


def main(name, sector, key_type, key, slot, number, data=None):
    (reader,) = [reader for reader in readers() if str(reader) == name]
    request = CardRequest(timeout=TIMEOUT_S, cardType=AnyCardType(), readers=[reader])
    # The connection ends with the service that it comes from.
    service = request.waitforcard()
    connection = service.connection
    connection.connect()
    seen = {"atr": compact(connection.getATR()), "status_words": []}

    def transmit(apdu):
        response, sw1, sw2 = connection.transmit(apdu)
        seen["status_words"].append(f"{sw1:02x}{sw2:02x}")
        return response

    first = int(sector) * 4
    seen["uid"] = compact(transmit([0xFF, 0xCA, 0x00, 0x00, 0x00]))
    transmit([0xFF, 0x82, 0x00, int(slot, 16), 0x06, *toBytes(key)])
    key_byte = {"A": 0x60, "B": 0x61}[key_type]
    transmit([0xFF, 0x86, 0x00, 0x00, 0x05, 0x01, 0x00, first, key_byte, int(number, 16)])
    if data:
        transmit([0xFF, 0xD6, 0x00, first + 2, 0x10, *toBytes(data)])
    seen["blocks"] = [compact(transmit([0xFF, 0xB0, 0x00, first + block, 0x10])) for block in range(4)]
    connection.disconnect()
    print(json.dumps(seen))


def compact(data):
    return toHexString(data).replace(" ", "").lower()


main(*sys.argv[1:])
